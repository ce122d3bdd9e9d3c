//! Which commit a build says it is of, in real repositories.

#[path = "../build/revision.rs"]
mod revision;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("revision-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn git(&self, line: &str) {
        let identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"];
        let git = Command::new("git")
            .arg("-C")
            .arg(&self.0)
            .args(identity)
            .args(line.split(' '))
            .output()
            .expect("git runs");
        assert!(git.status.success(), "{}", String::from_utf8_lossy(&git.stderr));
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_commit_is_told_and_whether_the_tree_is_as_it_was() {
    let folder = Folder::new("commits");
    folder.git("init -q");
    folder.write("file", "one");
    folder.git("add file");
    folder.git("commit -qm one");
    let first = revision::of(&folder.0);
    assert!(first.len() == 12 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    folder.write("not known to git", "kept runs, for one");
    assert_eq!(revision::of(&folder.0), first);
    folder.write("file", "two");
    assert_eq!(revision::of(&folder.0), format!("{first}-dirty"));
    let watched = || -> Vec<_> {
        revision::head_files(&folder.0).iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
    };
    let before = watched();
    folder.git("commit -qam two");
    assert_ne!(revision::of(&folder.0), first);
    assert_ne!(watched(), before, "a build notices the new commit");
}

/// As a tarball is: nowhere, or in a folder of something else.
#[test]
fn a_tree_outside_of_git_has_no_commit() {
    let folder = Folder::new("unpacked");
    folder.git("init -q");
    folder.write("theirs", "something else");
    folder.git("add theirs");
    folder.git("commit -qm theirs");
    folder.write("roadstead/Cargo.toml", "[workspace]");
    let nowhere = std::env::temp_dir().join(format!("roadstead-revision-{}", std::process::id()));
    fs::create_dir_all(&nowhere).unwrap();
    for tree in [folder.0.join("roadstead"), nowhere.clone()] {
        assert_eq!(revision::of(&tree), revision::UNKNOWN);
        assert!(revision::head_files(&tree).is_empty());
    }
    fs::remove_dir_all(nowhere).unwrap();
}

#[test]
fn the_compiler_is_named() {
    assert!(revision::compiler().starts_with("rustc 1."), "{}", revision::compiler());
}
