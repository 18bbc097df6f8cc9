//! The writer thread: everything that waits is written in one transaction and acknowledged after one sync.

use std::{
    fmt,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::{Answer as Outcome, Stop, told};
use crate::error::{Error, ErrorCode, Result};

/// Requests that share one commit, at most.
const BATCH: usize = 512;

/// How long a batch waits for as many requests as the last one had.
const GATHER: Duration = Duration::from_micros(300);

/// Tells the sender the answer, once the batch is on the disk or has failed.
type Answer = Box<dyn FnOnce(Option<&rusqlite::Error>) + Send>;
/// Does the work of one request inside its savepoint, or learns why there is none; true keeps what it wrote.
type Job = Box<dyn FnOnce(std::result::Result<&Connection, &rusqlite::Error>) -> (bool, Answer) + Send>;

/// Hands requests to the thread.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
    path: PathBuf,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, path: PathBuf) -> Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new()
            .name("octopoid-writer".into())
            .spawn({
                let bell = bell(&path);
                move || serve(connection, &inbox, &bell)
            })
            .map_err(|e| Error::io("start a thread for", &path, e))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            path,
        })
    }

    /// Runs `work` in the next batch and waits until its result is durable.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let path = self.path.clone();
        let job: Job = Box::new(move |place| {
            let result = match place {
                Ok(savepoint) => work(savepoint),
                Err(error) => Err(Stop::Sqlite(same(error))),
            };
            let keep = result.is_ok();
            let tell: Answer = Box::new(move |commit_error| {
                let result = match (result, commit_error) {
                    (Err(stop), _) => Err(told(&path, "write", stop)),
                    (Ok(_), Some(error)) => Err(told(&path, "write", Stop::Sqlite(same(error)))),
                    (Ok(value), None) => Ok(value),
                };
                // The sender may have gone away; the write stands all the same.
                let _ = reply.send(result);
            });
            (keep, tell)
        });
        let gone = || {
            Error::new(
                ErrorCode::StoreUnavailable,
                format!("the writer of {} has stopped", self.path.display()),
            )
        };
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// The same facts once more: an error of the whole batch goes to each of its requests.
fn same(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => rusqlite::Error::SqliteFailure(*code, text.clone()),
        other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported to whoever waited for it.
            let _ = thread.join();
        }
    }
}

/// The file beside the database whose watchers are told of every commit, once it can be read. Who watches makes it. The log itself
/// tells too early: it is written, synced, and only then counts.
pub(crate) fn bell(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wake");
    name.into()
}

/// Has the watchers look, where there are any.
pub(crate) fn ring(bell: &Path) -> std::io::Result<()> {
    match File::options().write(true).open(bell) {
        Ok(mut file) => file.write_all(b"!"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn serve(mut connection: Connection, inbox: &mpsc::Receiver<Job>, bell: &Path) {
    let mut last = 1;
    while let Ok(first) = inbox.recv() {
        let mut batch = vec![first];
        // Those who were answered together ask again together: a sync is worth waiting a moment for them.
        let patience = Instant::now() + GATHER;
        while batch.len() < BATCH {
            let next = match inbox.try_recv() {
                Err(_) if batch.len() < last => inbox
                    .recv_timeout(patience.saturating_duration_since(Instant::now()))
                    .ok(),
                next => next.ok(),
            };
            match next {
                Some(job) => batch.push(job),
                None => break,
            }
        }
        last = batch.len();
        let mut answers = Vec::with_capacity(batch.len());
        let outcome = write_batch(&mut connection, batch, &mut answers);
        if matches!(outcome, Ok(true))
            && let Err(error) = ring(bell)
        {
            tracing::warn!("cannot tell of a change by {}: {error}", bell.display());
        }
        for answer in answers {
            answer(outcome.as_ref().err());
        }
    }
}

/// Whether something was changed.
fn write_batch(connection: &mut Connection, batch: Vec<Job>, answers: &mut Vec<Answer>) -> rusqlite::Result<bool> {
    let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            answers.extend(batch.into_iter().map(|job| job(Err(&error)).1));
            return Err(error);
        }
    };
    let before = transaction.total_changes();
    let command = |sql: &str| transaction.prepare_cached(sql)?.execute([]).map(|_| ());
    let mut wrote = false;
    for job in batch {
        if let Err(error) = command("SAVEPOINT request") {
            answers.push(job(Err(&error)).1);
            continue;
        }
        let (keep, answer) = job(Ok(&transaction));
        answers.push(answer);
        if keep {
            wrote = true;
        } else {
            command("ROLLBACK TO request")?;
        }
        command("RELEASE request")?;
    }
    // Most looks for work find none: they are no reason for others to look.
    let changed = wrote && transaction.total_changes() != before;
    if wrote {
        transaction.commit()?;
    } else {
        transaction.rollback()?;
    }
    Ok(changed)
}
