//! The process that is killed: it appends through desks, and says what was acknowledged when it was.
//!
//! Lines of its output: `P channel epoch top` for each channel that it finds, `A channel offset` for what is acknowledged.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

use roadstead_engine::log::{
    After, Append, Desk, Folder, Job, Kept, Log, Options, Outcome, Request, Retention, Store, open_desks,
};

const PLACE: &str = "LOG_VICTIM_FOLDER";
const WINDOW: &str = "LOG_VICTIM_WINDOW";
const COUNT: &str = "LOG_VICTIM_COUNT";

pub(crate) const EPOCH: u32 = 7;
/// All of these channels is kept.
pub(crate) const WHOLE: usize = 8;
/// Of these so many publications are kept.
pub(crate) const SHORT: usize = 4;
pub(crate) const SHORT_COUNT: u64 = 40;

/// Small segments, so that they are begun and cleaned all the time.
pub(crate) fn options() -> Options {
    Options { segment_bytes: 128 << 10, ..Options::default() }
}

pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// What every publication consists of: anybody can tell what should be there.
pub(crate) fn data(channel: &str, offset: u64) -> Arc<[u8]> {
    let length = 40 + (offset * 37 % 260) as usize;
    let text = format!("{channel}:{offset}:");
    text.bytes().cycle().take(length).collect()
}

pub(crate) fn channels() -> Vec<Arc<str>> {
    let whole = (0..WHOLE).map(|number| format!("whole-{number}"));
    whole.chain((0..SHORT).map(|number| format!("short-{number}"))).map(Into::into).collect()
}

fn retention(channel: &str) -> Retention {
    let count = if channel.starts_with("short") { SHORT_COUNT } else { u64::MAX };
    Retention { count, ..Retention::ALL }
}

/// The command that runs it: so many appends of each channel outstanding, and so many in all; 0: without end.
pub(crate) fn command(
    folder: &str,
    window: usize,
    count: u64,
) -> (PathBuf, Vec<String>, Vec<(String, String)>) {
    let program = std::env::current_exe().expect("this test");
    let arguments = ["--exact", "victim::victim", "--ignored", "--nocapture", "--test-threads", "1"];
    let environment = [(PLACE, folder.to_owned()), (WINDOW, window.to_string()), (COUNT, count.to_string())];
    (
        program,
        arguments.map(str::to_owned).to_vec(),
        environment.map(|(name, value)| (name.to_owned(), value)).to_vec(),
    )
}

pub(crate) fn start(folder: &str, window: usize, count: u64) -> Child {
    let (program, arguments, environment) = command(folder, window, count);
    let mut command = Command::new(program);
    command.args(arguments).envs(environment).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts")
}

fn say(line: &str) {
    // One write each: what was said is in the pipe when this returns.
    io::stdout().write_all(line.as_bytes()).and_then(|()| io::stdout().flush()).expect("somebody listens");
}

#[test]
#[ignore = "the process that other tests start"]
fn victim() {
    let Some(folder) = std::env::var_os(PLACE) else { return };
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (window, count) = (number(WINDOW), number(COUNT));
    let folder = Folder::make(Path::new(&folder)).expect("a folder");
    let store = Store::open(folder, options(), unix_ms(), unix_ms()).expect("it opens");
    assert_eq!(store.ledger().damage(), [], "nothing is damaged by a crash");
    let recorded = store.recorded();
    let mut tops: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    // Ends the line that the test harness has begun.
    say("\n");
    for recorded in &recorded {
        say(&format!("P {} {} {}\n", recorded.channel, recorded.position.epoch, recorded.position.sequence));
        tops.insert(recorded.channel.clone(), recorded.position.sequence);
    }
    let (wake, woken) = mpsc::channel();
    let (mut desks, keeper) =
        open_desks(store, vec![Arc::new(move || wake.send(()).unwrap_or(()))]).expect("a thread");
    let desk = &mut desks[0];
    let channels = channels();
    let mut asked: BTreeMap<u64, Arc<str>> = BTreeMap::new();
    let (mut ticket, mut acknowledged) = (0, 0);
    let mut hand_in = |desk: &mut Desk, asked: &mut BTreeMap<u64, Arc<str>>, channel: &Arc<str>| {
        let before = tops.get(channel).copied();
        let offset = before.unwrap_or(0) + 1;
        let append = Append {
            channel: channel.clone(),
            epoch: EPOCH,
            after: before.map_or(After::Start(0), After::Offset),
            publications: vec![Kept { offset, unix_ms: unix_ms(), data: data(channel, offset) }],
            retention: retention(channel),
        };
        ticket += 1;
        desk.hand_in(Job { ticket, request: Request::Append(append) }).expect("there is room");
        tops.insert(channel.clone(), offset);
        asked.insert(ticket, channel.clone());
    };
    let used = if window == 0 { 1 } else { channels.len() };
    for channel in channels.iter().take(used) {
        for _ in 0..window.max(1) {
            hand_in(desk, &mut asked, channel);
        }
    }
    while count == 0 || acknowledged < count {
        woken.recv().expect("it answers");
        while let Some(answer) = desk.poll() {
            let channel = asked.remove(&answer.ticket).expect("asked for");
            let Outcome::Appended(offset) = answer.outcome else { panic!("{:?}", answer.outcome) };
            say(&format!("A {channel} {offset}\n"));
            acknowledged += 1;
            if count == 0 || acknowledged < count {
                hand_in(desk, &mut asked, &channel);
            }
        }
    }
    drop(desks);
    keeper.join().expect("it ends");
}
