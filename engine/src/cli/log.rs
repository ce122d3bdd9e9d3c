//! `log`: looks at, copies and restores the durable log of a node that does not run.
//!
//! Invariants: the folder is this process's as long as it looks; `inspect`, `verify`, `export` and `snapshot` change nothing in it;
//! a copy has its name only when it is whole.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::given::sources;
use super::{ConfigArguments, Exit, Output, OutputArgument, answer, complain, complain_of};
use crate::config::{self, Entry};
use crate::flow::Position;
use crate::limits::LOG_READ_COUNT_MAX;
use crate::log::{
    Copied, Damage, Folder, FolderError, Ledger, OpenError, Options, Read, Recorded, Store, VERSION, copy,
};

pub(super) const AFTER: &str = "\
The node must not run. Its folder is data_dir of its configuration, or --data-dir; a snapshot is such a folder too.

Examples:
  roadstead log inspect --config roadstead.toml
  roadstead log verify --data-dir /var/lib/roadstead
  roadstead log export --data-dir /var/lib/roadstead --channel news > news.jsonl
  roadstead log snapshot --data-dir /var/lib/roadstead /backup/today
  roadstead log restore --data-dir /var/lib/roadstead /backup/today

Exit codes: 0 done, 1 failed, or (verify) something is damaged, 2 wrong usage, 78 configuration not valid, or a log of a later version";

/// The folder of a data directory that the log is in.
const FOLDER: &str = "log";
/// Where a copy is as long as it is not whole.
const FOLDER_PARTIAL: &str = "log.partial";

/// `log`.
#[derive(Debug, Args)]
pub struct LogCommand {
    /// What to do with it.
    #[command(subcommand)]
    pub action: LogAction,
}

/// What can be done with a log.
#[derive(Debug, Subcommand)]
pub enum LogAction {
    /// Say what it holds: segments, channels, positions
    Inspect(LogInspect),
    /// Read every record, and say what is damaged (exit code 1)
    Verify(LogQuery),
    /// Print publications, a line of JSON each
    Export(LogExport),
    /// Copy what is kept into a new folder
    Snapshot(LogCopy),
    /// Make the log anew from a snapshot; each channel gets a new epoch
    Restore(LogCopy),
}

/// Whose log, and the form of the answer.
#[derive(Debug, Args)]
pub struct LogQuery {
    /// The node's folder [default: data_dir of the configuration]
    #[arg(long, value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
    /// Where the settings of the node are.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Form of the answer.
    #[command(flatten)]
    pub output: OutputArgument,
}

/// `log inspect`.
#[derive(Debug, Args)]
pub struct LogInspect {
    /// Also list the channels whose names begin so; all: an empty one
    #[arg(long, value_name = "PREFIX")]
    pub channels: Option<String>,
    /// Whose log.
    #[command(flatten)]
    pub query: LogQuery,
}

/// `log export`.
#[derive(Debug, Args)]
pub struct LogExport {
    /// Only this channel
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,
    /// Whose log.
    #[command(flatten)]
    pub query: LogQuery,
}

/// `log snapshot` and `log restore`.
#[derive(Debug, Args)]
pub struct LogCopy {
    /// The folder of the snapshot
    #[arg(value_name = "SNAPSHOT")]
    pub snapshot: PathBuf,
    /// Whose log.
    #[command(flatten)]
    pub query: LogQuery,
}

/// Why a command ended.
struct Refused(Exit, String);

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self(Exit::Failure, why)
    }
}

/// Does one of them.
#[must_use]
pub fn run(command: &LogCommand) -> Exit {
    let query = match &command.action {
        LogAction::Inspect(inspect) => &inspect.query,
        LogAction::Verify(query) => query,
        LogAction::Export(export) => &export.query,
        LogAction::Snapshot(copy) | LogAction::Restore(copy) => &copy.query,
    };
    let mut sources = sources(&query.config, None);
    let flag = query.data_dir.as_ref().map(|path| path.to_string_lossy().into_owned());
    sources.flags.extend(flag.map(|path| Entry::flag("--data-dir", "data_dir", path)));
    let data_dir = match config::load(&sources) {
        Ok(configuration) => configuration.settings.data_dir,
        Err(problems) => return complain_of(&problems),
    };
    let Some(data_dir) = data_dir else {
        complain("no folder: set data_dir (--config, --set or ROADSTEAD_DATA_DIR), or give --data-dir");
        return Exit::Configuration;
    };
    let done = match &command.action {
        LogAction::Inspect(inspect) => look(&data_dir, inspect),
        LogAction::Verify(query) => verify(&data_dir, query),
        LogAction::Export(only) => export(&data_dir, only.channel.as_deref()),
        LogAction::Snapshot(to) => {
            copied(&data_dir, &to.snapshot, query, |recorded| Ok(recorded.position.epoch))
        }
        LogAction::Restore(from) => copied(&from.snapshot, &data_dir, query, |recorded| {
            // Drawn until it is another one: a client that knows the old one must not be told that nothing was lost.
            loop {
                let epoch = Position::draw(draw()?, true);
                if epoch != recorded.position.epoch {
                    return Ok(epoch);
                }
            }
        }),
    };
    done.unwrap_or_else(|Refused(exit, why)| {
        complain(&why);
        exit
    })
}

/// A log, and the folder above it, both held.
struct Held {
    ledger: Ledger<Folder>,
    _data_dir: Folder,
}

fn held(data_dir: &Path) -> Result<Held, Refused> {
    let path = data_dir.join(FOLDER);
    let refused = |path: &Path, error: FolderError| Refused::from(format!("{}: {error}", path.display()));
    let folder = Folder::take(data_dir).map_err(|error| refused(data_dir, error))?;
    let log = Folder::take(&path).map_err(|error| refused(&path, error))?;
    let mut ledger = Ledger::load(log).map_err(|error| match error {
        OpenError::Newer { .. } => Refused(Exit::Configuration, format!("{}: {error}", path.display())),
        OpenError::Io(_) => format!("{}: {error}", path.display()).into(),
    })?;
    ledger.retire_all(unix_ms());
    Ok(Held { ledger, _data_dir: folder })
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn draw() -> Result<u32, Refused> {
    let mut number = [0; 4];
    let drawn = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut number));
    drawn.map_err(|error| format!("cannot draw from /dev/urandom: {error}"))?;
    Ok(u32::from_le_bytes(number))
}

fn look(data_dir: &Path, inspect: &LogInspect) -> Result<Exit, Refused> {
    let Held { ledger, .. } = held(data_dir)?;
    let (recorded, segments) = (ledger.recorded(), ledger.segments());
    let prefix = inspect.channels.as_deref();
    let is_shown = |channel: &&Recorded| prefix.is_some_and(|prefix| channel.channel.starts_with(prefix));
    let shown: Vec<_> = recorded.iter().filter(is_shown).collect();
    let publications: u64 = recorded.iter().map(|channel| channel.count).sum();
    Ok(match inspect.query.output.output {
        Output::Json => answer(
            &json!({
                "format": VERSION,
                "bytes": ledger.bytes(),
                "live_bytes": ledger.live_bytes(),
                "channels_known": recorded.len(),
                "publications": publications,
                "ended_in_order": ledger.is_sealed(),
                "broken_off": ledger.torn().map(damage_json),
                "damaged": ledger.damage().len(),
                "segments": segments.iter().map(|segment| json!({
                    "name": segment.name,
                    "bytes": segment.bytes,
                    "live_bytes": segment.live_bytes,
                    "sealed": segment.is_sealed,
                })).collect::<Vec<_>>(),
                "channels": shown.iter().map(|channel| channel_json(channel)).collect::<Vec<_>>(),
            })
            .to_string(),
        ),
        Output::Text => {
            let mut text = format!(
                "format {VERSION}, {} segments, {} bytes, {} of them alive\n{} channels, {publications} publications\n{}\n{} damaged places\n",
                segments.len(),
                ledger.bytes(),
                ledger.live_bytes(),
                recorded.len(),
                ending(&ledger),
                ledger.damage().len(),
            );
            for channel in shown {
                let _ = writeln!(
                    text,
                    "{}  epoch {} top {} from {}  {} publications, {} bytes",
                    channel.channel,
                    channel.position.epoch,
                    channel.position.sequence,
                    channel.floor,
                    channel.count,
                    channel.bytes,
                );
            }
            answer(&text)
        }
    })
}

fn ending(ledger: &Ledger<Folder>) -> String {
    match ledger.torn() {
        Some(Damage { name, at, bytes }) => {
            format!("writing broke off in {name} at {at}: {bytes} bytes that nobody was told of")
        }
        None if ledger.is_sealed() => "ended in order".into(),
        None => "not ended in order, and nothing broke off".into(),
    }
}

fn damage_json(damage: &Damage) -> Value {
    json!({"segment": damage.name, "at": damage.at, "bytes": damage.bytes})
}

fn channel_json(channel: &Recorded) -> Value {
    json!({
        "channel": &*channel.channel,
        "epoch": channel.position.epoch,
        "top": channel.position.sequence,
        "from": channel.floor,
        "publications": channel.count,
        "bytes": channel.bytes,
        "published_ms": channel.published_ms,
    })
}

fn verify(data_dir: &Path, query: &LogQuery) -> Result<Exit, Refused> {
    let Held { ledger, .. } = held(data_dir)?;
    let publications: u64 = ledger.recorded().iter().map(|channel| channel.count).sum();
    let answered = match query.output.output {
        Output::Json => answer(
            &json!({
                "format": VERSION,
                "bytes": ledger.bytes(),
                "publications": publications,
                "ended_in_order": ledger.is_sealed(),
                "broken_off": ledger.torn().map(damage_json),
                "damaged": ledger.damage().iter().map(damage_json).collect::<Vec<_>>(),
            })
            .to_string(),
        ),
        Output::Text => {
            let mut text = format!("{} bytes read; {}\n", ledger.bytes(), ending(&ledger));
            for Damage { name, at, bytes } in ledger.damage() {
                let _ = match bytes {
                    0 => writeln!(text, "DAMAGED {name} at {at}: the end is missing"),
                    _ => writeln!(text, "DAMAGED {name} at {at}: {bytes} bytes are no record"),
                };
            }
            let _ = writeln!(text, "{publications} publications are whole");
            answer(&text)
        }
    };
    Ok(answered.and(if ledger.damage().is_empty() { Exit::Ok } else { Exit::Failure }))
}

fn export(data_dir: &Path, only: Option<&str>) -> Result<Exit, Refused> {
    let Held { mut ledger, .. } = held(data_dir)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut damaged = ledger.damage().len() as u64;
    for Recorded { channel, position, .. } in ledger.recorded() {
        if only.is_some_and(|only| *only != *channel) {
            continue;
        }
        let mut since = 0;
        loop {
            let read = Read {
                channel: Arc::clone(&channel),
                epoch: None,
                since,
                reverse: false,
                count: LOG_READ_COUNT_MAX,
            };
            let found = ledger.read(&read).map_err(|error| format!("cannot read {channel}: {error}"))?;
            damaged += found.damaged;
            for kept in &found.publications {
                let line = json!({
                    "channel": &*channel,
                    "epoch": position.epoch,
                    "offset": kept.offset,
                    "unix_ms": kept.unix_ms,
                    "data_base64": STANDARD.encode(&kept.data),
                });
                match writeln!(out, "{line}") {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Ok),
                    Err(error) => return Err(format!("cannot write: {error}").into()),
                    Ok(()) => {}
                }
                since = kept.offset;
            }
            // Where all that was read is damaged, that much was given up, and the rest comes next.
            if !found.has_more {
                break;
            }
        }
    }
    out.flush().map_err(|error| format!("cannot write: {error}"))?;
    if damaged > 0 {
        complain(&format!("{damaged} damaged places were left out; `roadstead log verify` says where"));
        return Ok(Exit::Partial);
    }
    Ok(Exit::Ok)
}

/// Copies a log to where none is.
fn copied(
    from: &Path,
    to: &Path,
    query: &LogQuery,
    epoch_of: impl Fn(&Recorded) -> Result<u32, Refused>,
) -> Result<Exit, Refused> {
    let Held { mut ledger, _data_dir } = held(from)?;
    let shown = to.display();
    let unusable = |error: &dyn std::fmt::Display| Refused::from(format!("cannot write to {shown}: {error}"));
    let _target = Folder::make(to).map_err(|error| unusable(&error))?;
    let (place, partial) = (to.join(FOLDER), to.join(FOLDER_PARTIAL));
    if place.exists() {
        return Err(format!("{} is there already; move it away first", place.display()).into());
    }
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|error| unusable(&error))?;
    }
    let folder = Folder::make(&partial).map_err(|error| unusable(&error))?;
    let options = Options { bytes_max: u64::MAX, ..Options::default() };
    let secret = u64::from(draw()?) << 32 | u64::from(draw()?);
    let mut store = Store::open(folder, options, secret, unix_ms()).map_err(|error| unusable(&error))?;
    let mut epochs = Vec::new();
    for recorded in ledger.recorded() {
        epochs.push(epoch_of(&recorded)?);
    }
    let mut epochs = epochs.into_iter();
    let copied = copy(&mut ledger, &mut store, unix_ms(), |_| epochs.next().unwrap_or(1));
    let copied = copied.map_err(|error| unusable(&error))?;
    drop(store);
    let named = fs::rename(&partial, &place).and_then(|()| File::open(to)?.sync_all());
    named.map_err(|error| unusable(&error))?;
    Ok(tell(&copied, ledger.damage().len(), query.output.output))
}

fn tell(copied: &Copied, damaged: usize, output: Output) -> Exit {
    let Copied { channels, publications, .. } = copied;
    let answered = match output {
        Output::Json => answer(
            &json!({"channels": channels, "publications": publications, "damaged": damaged}).to_string(),
        ),
        Output::Text => answer(&format!("{channels} channels, {publications} publications")),
    };
    if damaged > 0 {
        complain(&format!("{damaged} damaged places were left out; `roadstead log verify` says where"));
        return answered.and(Exit::Partial);
    }
    answered
}
