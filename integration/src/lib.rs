//! Whole jobs on real Spark: starts them with spark-submit as a user would, and waits for them.
//!
//! The jobs lie in `integration/jobs`; the tests in `integration/tests`. They use the virtual environment that
//! `make build` leaves, so run them with `make test`.

use std::{
    fs::File,
    io::{Error, ErrorKind, Result},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// A job that has ended.
#[derive(Debug)]
pub struct Finished {
    pub succeeded: bool,
    /// Standard output and standard error of driver and spark-submit.
    pub log: String,
}

/// A job to be submitted.
#[derive(Debug)]
pub struct Job {
    name: String,
    arguments: Vec<String>,
    confs: Vec<String>,
    environment: Vec<(String, String)>,
    timeout: Duration,
}

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// A fresh directory for what a test writes.
///
/// # Errors
/// Where it cannot be made.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let directory = root().join("target/integration").join(name);
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Jobs that may run at once: much of a job is one thread's, or waiting for what it caused.
const AT_ONCE: usize = 2;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// The right to run a job, until it is dropped.
#[must_use]
pub struct Machine(());

/// Waits for its turn to run a job.
pub fn machine() -> Machine {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut running = ENDED.wait_while(running, |count| *count >= AT_ONCE).unwrap_or_else(PoisonError::into_inner);
    *running += 1;
    Machine(())
}

impl Drop for Machine {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}

impl Job {
    /// A job of `integration/jobs` on a master, with rudf's jar and plugin.
    ///
    /// # Errors
    /// Where the package has no jar.
    pub fn new(name: &str, master: &str) -> Result<Self> {
        let jar = Command::new(root().join(".venv/bin/rudf")).arg("jar").output()?;
        let jar = String::from_utf8_lossy(&jar.stdout).trim().to_owned();
        if jar.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "rudf has no jar: run `make build`"));
        }
        let mut confs = Vec::new();
        for option in ["--master", master, "--jars", &jar] {
            confs.push(option.to_owned());
        }
        let job = Self {
            name: name.to_owned(),
            arguments: Vec::new(),
            confs,
            environment: Vec::new(),
            timeout: Duration::from_secs(1800),
        };
        Ok(job
            .conf("spark.plugins", "org.rudf.spark.RudfPlugin")
            .conf("spark.ui.enabled", "false")
            // Of jobs of many small queries most of the time would go into making their code fast.
            .conf("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1")
            .conf("spark.executor.extraJavaOptions", "-XX:TieredStopAtLevel=1")
            .conf("spark.sql.shuffle.partitions", "3")
            .python(&root().join(".venv/bin/python")))
    }

    /// Sets a conf.
    #[must_use]
    pub fn conf(mut self, key: &str, value: &str) -> Self {
        self.confs.push("--conf".to_owned());
        self.confs.push(format!("{key}={value}"));
        self
    }

    /// Where Python runs: `process` or `embedded`.
    #[must_use]
    pub fn worker(self, worker: &str) -> Self {
        self.conf("spark.rudf.worker", worker)
    }

    /// The Python of the workers.
    #[must_use]
    pub fn python(self, python: &Path) -> Self {
        self.environment("PYSPARK_PYTHON", &python.display().to_string())
    }

    /// Sets an environment variable of the driver.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument of the job.
    #[must_use]
    pub fn argument(mut self, argument: &Path) -> Self {
        self.arguments.push(argument.display().to_string());
        self
    }

    /// Submits the job and waits; one that takes too long is killed.
    ///
    /// # Errors
    /// Where spark-submit cannot be started.
    pub fn run(self, scratch: &Path) -> Result<Finished> {
        let log = scratch.join(format!("{}.log", self.name));
        let output = File::create(&log)?;
        let mut command = Command::new(root().join(".venv/bin/spark-submit"));
        command
            .args(&self.confs)
            .arg(root().join("integration/jobs").join(format!("{}.py", self.name)))
            .args(&self.arguments)
            .env("PYSPARK_DRIVER_PYTHON", root().join(".venv/bin/python"))
            .env("SPARK_LOCAL_HOSTNAME", "localhost")
            .envs(self.environment)
            .current_dir(scratch)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut child = command.spawn()?;
        let start = Instant::now();
        let end = start + self.timeout;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if Instant::now() > end {
                child.kill()?;
                child.wait()?;
                break None;
            }
            thread::sleep(Duration::from_millis(100));
        };
        let place = scratch.file_name().unwrap_or_default().display();
        eprintln!("{} ({place}): {} s", self.name, start.elapsed().as_secs());
        let log = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        Ok(Finished { succeeded: status.is_some_and(|status| status.success()), log })
    }
}

impl Finished {
    /// The last lines of the log, for messages.
    #[must_use]
    pub fn tail(&self) -> String {
        let lines: Vec<_> = self.log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}
