//! Whole jobs, submitted as a user submits them, on local Spark and on real executors.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use rudf_integration::{Finished, Job, machine, root, scratch};
use serde_json::Value;

const LOCAL: &str = "local[2]";
/// Two real executors with one core each.
const CLUSTER: &str = "local-cluster[2,1,1024]";

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn must_succeed(finished: &Finished) {
    assert!(finished.succeeded, "the job failed:\n{}", finished.tail());
}

/// Queries that rudf does not take, each for a reason that the documentation gives.
const LEFT_TO_SPARK: [&str; 2] = ["unsupported argument", "unsupported result"];

/// Both hosts run the same jobs.
const PROCESS: &str = "process";
const EMBEDDED: &str = "embedded";

/// Which part of its queries a job runs, of how many; all of them where `RUDF_PARITY` is set (`make test-parity`).
type Part = (usize, usize);

fn both_paths_give_the_same(master: &str, worker: &str, name: &str, part: Part) {
    same_answers("differential", master, worker, name, part, 100);
}

/// Runs a job that writes what came of its queries on either path. It has more than `queries` of them.
fn same_answers(job: &str, master: &str, worker: &str, name: &str, part: Part, queries: usize) {
    let _machine = machine();
    let scratch = scratch(name).unwrap();
    let target = scratch.join("results.json");
    let (part, parts) = if std::env::var_os("RUDF_PARITY").is_some() { (0, 1) } else { part };
    let job = Job::new(job, master).unwrap().worker(worker).argument(&target).argument(&scratch.join("data"));
    must_succeed(&job.environment("RUDF_PART", &format!("{part}/{parts}")).run(&scratch).unwrap());
    let results = read(&target);
    let results = results.as_object().unwrap();
    // Names decide what is in which part, so parts are about as large, and not the same.
    assert!(results.len() > queries * 2 / 3 / parts, "{} queries are fewer than there should be", results.len());
    eprintln!("{name}: {} queries on both paths", results.len());
    let mut wrong = Vec::new();
    for (query, outcome) in results {
        let (off, on) = (&outcome["off"], &outcome["on"]);
        // What a name does not tell.
        let told = outcome["query"].as_str().map(|text| format!(" ({text})")).unwrap_or_default();
        for part in ["error", "text", "schema", "rows"] {
            if off[part] != on[part] {
                wrong.push(format!("{query}{told}: {part}\n  Spark: {}\n  rudf:  {}", off[part], on[part]));
            }
        }
        let left = LEFT_TO_SPARK.contains(&query.as_str()) || query.starts_with("left: ");
        if on["rudf"].as_bool().is_some_and(|taken| taken == left) {
            wrong.push(format!("{query}{told}: rudf took it: {}", on["rudf"]));
        }
        if off["rudf"].as_bool() == Some(true) {
            wrong.push(format!("{query}: rudf ran although it was off"));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn both_paths_give_the_same_answers_and_errors_in_local_mode() {
    both_paths_give_the_same(LOCAL, PROCESS, "differential-local", (0, 3));
}

#[test]
fn both_paths_give_the_same_answers_and_errors_with_python_embedded() {
    both_paths_give_the_same(LOCAL, EMBEDDED, "differential-embedded", (1, 3));
}

#[test]
fn both_paths_give_the_same_answers_and_errors_on_real_executors() {
    both_paths_give_the_same(CLUSTER, PROCESS, "differential-cluster", (2, 3));
}

#[test]
fn nested_and_rarer_types_give_the_same_on_both_paths() {
    same_answers("types_differential", LOCAL, PROCESS, "types-local", (0, 2), 70);
}

#[test]
fn nested_and_rarer_types_give_the_same_with_python_embedded() {
    same_answers("types_differential", LOCAL, EMBEDDED, "types-embedded", (1, 2), 70);
}

#[test]
fn stock_functions_of_all_kinds_give_the_same_on_both_paths() {
    same_answers("kinds_differential", LOCAL, PROCESS, "kinds-local", (0, 4), 560);
}

#[test]
fn functions_in_all_places_and_in_streams_give_the_same_on_both_paths() {
    same_answers("places_differential", LOCAL, PROCESS, "places-local", (0, 12), 250);
}

#[test]
fn pickled_functions_of_rows_give_the_same_on_both_paths() {
    same_answers("pickled_differential", LOCAL, PROCESS, "pickled-rows-local", (0, 8), 1000);
}

#[test]
fn pickled_functions_of_rows_give_the_same_with_python_embedded() {
    same_answers("pickled_differential", LOCAL, EMBEDDED, "pickled-rows-embedded", (1, 16), 1000);
}

/// Random queries, which `RUDF_RANDOM_SEED` and `RUDF_RANDOM_QUERIES` choose (`make test-random`).
#[test]
fn random_queries_give_the_same_on_both_paths() {
    let wanted = std::env::var("RUDF_RANDOM_QUERIES").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    same_answers("random_differential", LOCAL, PROCESS, "random-local", (0, 1), wanted);
}

#[test]
fn examples_of_pysparks_documentation_print_what_is_written_there() {
    let _machine = machine();
    let scratch = scratch("documentation").unwrap();
    let target = scratch.join("results.json");
    let finished = Job::new("documentation", LOCAL).unwrap().argument(&target).run(&scratch).unwrap();
    must_succeed(&finished);
    let results = read(&target);
    let examples = results["examples"].as_object().unwrap();
    assert!(examples.len() > 20, "{} are fewer than there should be", examples.len());
    for (name, outcome) in examples {
        assert_eq!(outcome, &Value::Bool(true), "{name}: {outcome}\n{}", finished.tail());
    }
    let queries = results["queries"]["rudf"].as_u64().unwrap();
    assert!(queries > 60, "rudf ran {queries} of their queries");
}

/// A Python environment with everything but rudf: the packages of the project's own, without its `.pth` files.
fn python_without_rudf(scratch: &Path) -> PathBuf {
    bare_python(scratch, &site_packages(&root().join(".venv/bin/python")))
}

/// A Python environment that has PySpark and nothing else.
fn python_without_pyarrow(scratch: &Path) -> PathBuf {
    let packages = scratch.join("packages");
    std::fs::create_dir_all(&packages).unwrap();
    for name in ["pyspark", "py4j"] {
        let installed = site_packages(&root().join(".venv/bin/python")).join(name);
        std::os::unix::fs::symlink(installed, packages.join(name)).unwrap();
    }
    bare_python(scratch, &packages)
}

fn site_packages(python: &Path) -> PathBuf {
    let script = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let output = std::process::Command::new(python).args(["-I", "-c", script]).output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// An environment that imports from one directory.
fn bare_python(scratch: &Path, packages: &Path) -> PathBuf {
    let environment = scratch.join("bare");
    let python = root().join(".venv/bin/python");
    let made =
        std::process::Command::new(&python).args(["-m", "venv", "--without-pip"]).arg(&environment).status().unwrap();
    assert!(made.success());
    let bare = environment.join("bin/python");
    std::fs::write(site_packages(&bare).join("packages.pth"), format!("{}\n", packages.display())).unwrap();
    bare
}

#[test]
fn executors_need_nothing_of_rudf_installed() {
    let _machine = machine();
    let scratch = scratch("without-rudf").unwrap();
    let python = python_without_rudf(&scratch);
    let target = scratch.join("results.json");
    let job = Job::new("executor_without_rudf", CLUSTER).unwrap().python(&python).argument(&target);
    must_succeed(&job.run(&scratch).unwrap());
    let results = read(&target);
    assert_eq!(results["off"], Value::Null, "the executor's Python has rudf installed, so this test shows nothing");
    let on = results["on"].as_str().unwrap();
    assert!(on.contains("/rudf-") && on.ends_with("/python/rudf/__init__.py"), "rudf was imported from {on}");
    assert_eq!(results["sum"], 2 * (0..1000).sum::<i64>());
    for side in ["arrays off", "arrays on"] {
        assert_eq!(results[side], serde_json::json!([0, 3, 6, 9, 12]), "{side}");
    }
}

#[test]
fn row_functions_need_no_pyarrow_on_executors() {
    let _machine = machine();
    let scratch = scratch("without-pyarrow").unwrap();
    let python = python_without_pyarrow(&scratch);
    let target = scratch.join("results.json");
    let finished = Job::new("left_to_spark", CLUSTER).unwrap().python(&python).argument(&target).run(&scratch).unwrap();
    must_succeed(&finished);
    let results = read(&target);
    assert_eq!(results["sum"], 2 * (0..1000).sum::<i64>());
    assert!(results["plan"].as_str().unwrap().contains("RudfEval"));
    assert!(!finished.log.contains("left to Spark"), "{}", finished.tail());
}

fn failures_do_no_harm(master: &str, worker: &str, name: &str) {
    let _machine = machine();
    let scratch = scratch(name).unwrap();
    let target = scratch.join("results.json");
    let finished = Job::new("failures", master).unwrap().worker(worker).argument(&target).run(&scratch).unwrap();
    must_succeed(&finished);
    let results = read(&target);
    for (failure, outcome) in results.as_object().unwrap() {
        assert_eq!(outcome, &Value::Bool(true), "{failure}: {outcome}\n{}", finished.tail());
    }
}

#[test]
fn failures_of_functions_are_told_and_do_no_harm_in_local_mode() {
    failures_do_no_harm(LOCAL, PROCESS, "failures-local");
}

#[test]
fn failures_of_functions_are_told_and_do_no_harm_with_python_embedded() {
    failures_do_no_harm(LOCAL, EMBEDDED, "failures-embedded");
}

#[test]
fn failures_of_functions_are_told_and_do_no_harm_on_real_executors() {
    failures_do_no_harm(CLUSTER, PROCESS, "failures-cluster");
}

fn functions_have_pysparks_services(master: &str, name: &str) {
    let _machine = machine();
    let scratch = scratch(name).unwrap();
    let target = scratch.join("results.json");
    let job = Job::new("services", master).unwrap().conf("spark.executorEnv.OF_THE_TEST", "yes");
    let finished = job.argument(&target).argument(&scratch).run(&scratch).unwrap();
    must_succeed(&finished);
    let results = read(&target);
    assert!(results.as_object().unwrap().len() > 10);
    for (service, outcome) in results.as_object().unwrap() {
        assert_eq!(outcome, &Value::Bool(true), "{service}: {outcome}");
    }
}

#[test]
fn functions_have_pysparks_services_in_local_mode() {
    functions_have_pysparks_services(LOCAL, "services-local");
}

#[test]
fn functions_have_pysparks_services_on_real_executors() {
    functions_have_pysparks_services(CLUSTER, "services-cluster");
}

#[test]
fn workers_have_the_memory_of_their_stages_resource_profile_on_real_executors() {
    let _machine = machine();
    let scratch = scratch("resource-profiles").unwrap();
    let target = scratch.join("results.json");
    let job = Job::new("resource_profiles", "local-cluster[3,1,1024]").unwrap().worker(PROCESS).argument(&target);
    // Where executors are not allocated as they are wanted, there are none with a profile.
    let job = job.conf("spark.dynamicAllocation.enabled", "true").conf("spark.dynamicAllocation.maxExecutors", "1");
    let finished = job.conf("spark.executor.pyspark.memory", "2g").run(&scratch).unwrap();
    must_succeed(&finished);
    for (query, outcome) in read(&target).as_object().unwrap() {
        assert_eq!(outcome, &Value::Bool(true), "{query}: {outcome}\n{}", finished.tail());
    }
}

fn services_that_only_pysparks_workers_have(master: &str, name: &str, confs: &[(&str, &str)]) {
    let _machine = machine();
    let scratch = scratch(name).unwrap();
    let target = scratch.join("results.json");
    let job = Job::new("services_left", master).unwrap().worker(PROCESS).argument(&target);
    let job = confs.iter().fold(job, |job, (key, value)| job.conf(key, value));
    let finished = job.run(&scratch).unwrap();
    must_succeed(&finished);
    let results = read(&target);
    for (service, outcome) in results.as_object().unwrap().iter().filter(|(name, _)| *name != "python") {
        assert_eq!(outcome, &Value::Bool(true), "{service}: {outcome}\n{}", finished.tail());
    }
    assert!(finished.log.contains("the task is one of a barrier stage"), "{}", finished.tail());
}

#[test]
fn services_that_only_pysparks_workers_have_are_left_to_them() {
    services_that_only_pysparks_workers_have(LOCAL, "services-left", &[]);
}

#[test]
fn services_that_only_pysparks_workers_have_are_left_to_them_with_encryption() {
    let encrypted = [("spark.io.encryption.enabled", "true")];
    services_that_only_pysparks_workers_have(CLUSTER, "services-left-encrypted", &encrypted);
}

/// An environment with everything but rudf, in an archive.
fn packed_environment(scratch: &Path) -> PathBuf {
    let python = bare_python(scratch, &site_packages(&root().join(".venv/bin/python")));
    let environment = python.ancestors().nth(2).unwrap();
    let archive = scratch.join("env.tar.gz");
    let packed =
        std::process::Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(environment).arg(".").status();
    assert!(packed.unwrap().success());
    archive
}

/// It is not there when executors start, and look for it early.
#[test]
fn a_python_that_comes_in_an_archive_which_is_added_later_is_used() {
    let _machine = machine();
    let scratch = scratch("archive-later").unwrap();
    let archive = PathBuf::from(format!("{}#env", packed_environment(&scratch).display()));
    let target = scratch.join("results.json");
    let job = Job::new("left_to_spark", CLUSTER).unwrap().worker(PROCESS).python(Path::new("./env/bin/python"));
    let finished = job.argument(&target).argument(&archive).run(&scratch).unwrap();
    must_succeed(&finished);
    assert_eq!(read(&target)["sum"], 2 * (0..1000).sum::<i64>());
    assert!(!finished.log.contains("left to Spark"), "{}", finished.tail());
}

#[test]
fn a_python_that_comes_in_an_archive_is_used() {
    let _machine = machine();
    let scratch = scratch("archive").unwrap();
    let packages = scratch.join("packages");
    std::fs::create_dir_all(&packages).unwrap();
    let archive = packed_environment(&scratch);
    let target = scratch.join("results.json");
    let job = Job::new("services_left", CLUSTER).unwrap().worker(PROCESS).argument(&target);
    let job = job.python(Path::new("./env/bin/python")).conf("spark.archives", &format!("{}#env", archive.display()));
    let finished = job.run(&scratch).unwrap();
    must_succeed(&finished);
    let results = read(&target);
    let used = results["python"].as_str().unwrap();
    assert!(used.ends_with("/env/bin/python") && !used.contains("bare"), "{used}");
    assert!(!finished.log.contains("this process leaves Python functions to Spark"), "{}", finished.tail());
}

fn faults_of_workers_do_no_harm(master: &str, name: &str) {
    faults_do_no_harm("worker_faults", master, name, &[("spark.task.maxFailures", "2")]);
}

fn faults_do_no_harm(job: &str, master: &str, name: &str, confs: &[(&str, &str)]) {
    let _machine = machine();
    let scratch = scratch(name).unwrap();
    let target = scratch.join("results.json");
    let job = Job::new(job, master).unwrap().worker(PROCESS).argument(&target).argument(&scratch);
    let job = confs.iter().fold(job, |job, (key, value)| job.conf(key, value));
    let finished = job.run(&scratch).unwrap();
    must_succeed(&finished);
    let results = read(&target);
    for (fault, outcome) in results.as_object().unwrap() {
        assert_eq!(outcome, &Value::Bool(true), "{fault}: {outcome}\n{}", finished.tail());
    }
}

#[test]
fn faults_of_worker_processes_are_told_or_survived_in_local_mode() {
    // Local mode tries a task again only where it is told to.
    faults_of_workers_do_no_harm("local[2,2]", "worker-faults-local");
}

#[test]
fn faults_of_worker_processes_are_told_or_survived_on_real_executors() {
    faults_of_workers_do_no_harm(CLUSTER, "worker-faults-cluster");
}

#[test]
fn limits_that_workers_meet_and_what_cannot_be_unpickled_are_told_on_real_executors() {
    let confs = [("spark.executor.pyspark.memory", "2g"), ("spark.task.maxFailures", "2")];
    faults_do_no_harm("worker_limits", CLUSTER, "worker-limits", &confs);
}

/// Executors whose folder for temporary files is of no use unpack elsewhere. Spark itself wants some room there.
#[test]
fn a_temporary_folder_that_is_missing_full_or_not_for_programs_is_passed_over_on_real_executors() {
    let _machine = machine();
    for (name, mounted) in [("missing", None), ("full", Some("size=2m")), ("noexec", Some("size=64m,noexec"))] {
        let scratch = scratch(&format!("temporary-{name}")).unwrap();
        let folder = scratch.join("tmp");
        let Some(mount) = Mount::of(&folder, mounted) else {
            eprintln!("{name}: skipped, since this user may not mount");
            continue;
        };
        let target = scratch.join("results.json");
        // Spark cannot do without programs there: its codecs unpack theirs.
        let conf = match name {
            "noexec" => ("spark.rudf.unpack.dir", folder.display().to_string()),
            _ => ("spark.executor.extraJavaOptions", format!("-Djava.io.tmpdir={}", folder.display())),
        };
        let job = Job::new("left_to_spark", CLUSTER).unwrap().worker(PROCESS).argument(&target);
        // Codecs that are used by default want to unpack a library there, and know no other place.
        let job = job.conf("spark.sql.parquet.compression.codec", "uncompressed");
        let job = job.conf("spark.shuffle.mapStatus.compression.codec", "lzf");
        let finished = job.conf(conf.0, &conf.1).run(&scratch).unwrap();
        must_succeed(&finished);
        let results = read(&target);
        assert_eq!(results["sum"], 2 * (0..1000).sum::<i64>(), "{name}");
        assert!(results["plan"].as_str().unwrap().contains("RudfEval"));
        assert!(!finished.log.contains("left to Spark"), "{name}: {}", finished.tail());
        drop(mount);
    }
}

/// A file system in memory, or a folder that is not there.
struct Mount<'a>(Option<&'a Path>);

impl<'a> Mount<'a> {
    /// None where it may not be mounted.
    fn of(folder: &'a Path, options: Option<&str>) -> Option<Self> {
        let Some(options) = options else { return Some(Self(None)) };
        std::fs::create_dir_all(folder).unwrap();
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder).status();
        mount.is_ok_and(|status| status.success()).then_some(Self(Some(folder)))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        if let Some(folder) = self.0 {
            let _it_goes_with_the_machine = std::process::Command::new("umount").arg(folder).status();
        }
    }
}

/// Whatever rudf lacks on an executor, the job runs on Spark's own path and says why.
fn runs_on_sparks_path(master: &str, name: &str, conf: (&str, &str), why: &str) {
    runs_on_sparks_path_with(master, name, &[conf], why);
}

fn runs_on_sparks_path_with(master: &str, name: &str, confs: &[(&str, &str)], why: &str) {
    let _machine = machine();
    let scratch = scratch(name).unwrap();
    let target = scratch.join("results.json");
    let job = Job::new("left_to_spark", master).unwrap().argument(&target);
    let job = confs.iter().fold(job, |job, (key, value)| job.conf(key, value));
    let finished = job.run(&scratch).unwrap();
    must_succeed(&finished);
    let results = read(&target);
    for sum in ["sum", "columnar sum"] {
        assert_eq!(results[sum], 2 * (0..1000).sum::<i64>(), "{sum}");
    }
    assert!(finished.log.contains("rudf: left to Spark") && finished.log.contains(why), "{}", finished.tail());
    if master == LOCAL {
        let plan = results["plan"].as_str().unwrap();
        assert!(plan.contains("rudf: left to Spark because") && plan.contains(why), "{plan}");
        assert!(plan.contains("ArrowEvalPython") && !plan.contains("RudfEval"), "{plan}");
    }
}

#[test]
fn without_a_usable_python_the_job_runs_on_sparks_path_in_local_mode() {
    runs_on_sparks_path(LOCAL, "no-python-local", ("spark.rudf.python", "/no/such/python"), "cannot be started");
}

#[test]
fn without_a_usable_python_the_job_runs_on_sparks_path_on_real_executors() {
    runs_on_sparks_path(CLUSTER, "no-python-cluster", ("spark.rudf.python", "/no/such/python"), "cannot be started");
}

/// A Python that says of itself that its shared library is one that is nowhere, as one that was built without it does.
fn python_without_libpython() -> PathBuf {
    use std::os::unix::fs::PermissionsExt;

    let python = root().join("target/integration/python-without-libpython");
    std::fs::create_dir_all(python.parent().unwrap()).unwrap();
    let real = root().join(".venv/bin/python");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*library_names*) '{0}' \"$@\" | sed 's/\"library_names\": \\[[^]]*\\]/\"library_names\": [\"libnowhere.so.1\"]/';;\n\
         *) exec '{0}' \"$@\";;\nesac\n",
        real.display()
    );
    std::fs::write(&python, script).unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    python
}

#[test]
fn embedding_without_libpython_the_job_runs_on_sparks_path() {
    let python = python_without_libpython();
    let confs = [("spark.rudf.worker", "embedded"), ("spark.rudf.python", python.to_str().unwrap())];
    runs_on_sparks_path_with(LOCAL, "no-libpython", &confs, "no libpython");
}

/// Some Python on this machine that is another minor version than the project's.
fn another_python() -> Option<PathBuf> {
    let version = |python: &Path| {
        let script = "import sys; print(sys.version_info[:2], sys.version_info >= (3, 10))";
        let output = std::process::Command::new(python).args(["-I", "-c", script]).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|version| version.ends_with("True"))
    };
    let ours = version(&root().join(".venv/bin/python"));
    let pyenv = std::fs::read_dir(Path::new(&std::env::var("HOME").ok()?).join(".pyenv/versions"));
    let installed = pyenv.into_iter().flatten().flatten().map(|entry| entry.path().join("bin/python"));
    let named = (10..=14).map(|minor| PathBuf::from(format!("/usr/bin/python3.{minor}")));
    installed.chain(named).find(|python| version(python).is_some_and(|theirs| Some(theirs) != ours))
}

#[test]
fn with_another_python_the_job_runs_on_sparks_path() {
    let Some(python) = another_python() else {
        eprintln!("skipped: this machine has one version of Python");
        return;
    };
    for worker in ["process", "embedded"] {
        let confs = [("spark.rudf.worker", worker), ("spark.rudf.python", python.to_str().unwrap())];
        runs_on_sparks_path_with(LOCAL, "another-python", &confs, "it was pickled by Python 3.");
    }
}

/// A Python that lacks something fails as on Spark's own path, says what, and another one of the application goes on.
fn a_python_that_lacks_something_is_told(name: &str, python: &Path, lack: &str, sentence: &str) {
    let scratch = scratch(name).unwrap();
    let target = scratch.join("results.json");
    let job = Job::new("worker_environments", CLUSTER).unwrap().worker(PROCESS).argument(&target).argument(python);
    let finished = job.argument(Path::new(lack)).conf("spark.task.maxFailures", "1").run(&scratch).unwrap();
    must_succeed(&finished);
    for (kind, outcome) in read(&target).as_object().unwrap() {
        assert_eq!(outcome, &Value::Bool(true), "{kind}: {outcome}\n{}", finished.tail());
    }
    assert!(finished.log.contains(sentence), "no `{sentence}`:\n{}", finished.tail());
}

#[test]
fn functions_of_another_python_version_are_told_on_real_executors() {
    let Some(python) = another_python() else {
        eprintln!("skipped: this machine has one version of Python");
        return;
    };
    let _machine = machine();
    let sentence = format!("and {} is Python 3.", python.display());
    a_python_that_lacks_something_is_told("another-python-cluster", &python, "version", &sentence);
}

#[test]
fn functions_that_need_packages_are_told_on_real_executors() {
    let _machine = machine();
    let python = python_without_pyarrow(&scratch("no-packages-python").unwrap());
    let sentence = format!("need pyarrow, and {} has none", python.display());
    a_python_that_lacks_something_is_told("no-packages", &python, "packages", &sentence);
}

#[test]
fn switched_off_the_job_runs_on_sparks_path() {
    runs_on_sparks_path(LOCAL, "off-local", ("spark.rudf.enabled", "false"), "spark.rudf.enabled is false");
}

#[test]
fn a_directory_that_cannot_be_written_is_passed_over() {
    let _machine = machine();
    let scratch = scratch("unpack").unwrap();
    let file = scratch.join("a-file");
    std::fs::write(&file, "").unwrap();
    let target = scratch.join("results.json");
    let job = Job::new("left_to_spark", LOCAL)
        .unwrap()
        .conf("spark.rudf.unpack.dir", &file.join("below").display().to_string())
        .argument(&target);
    must_succeed(&job.run(&scratch).unwrap());
    let results = read(&target);
    assert_eq!(results["sum"], 2 * (0..1000).sum::<i64>());
    assert!(results["plan"].as_str().unwrap().contains("RudfEval"));
}

fn pyspark_pickles_through_rudf(master: &str, name: &str) {
    let _machine = machine();
    let scratch = scratch(name).unwrap();
    let python = python_without_rudf(&scratch);
    let target = scratch.join("results.json");
    let finished =
        Job::new("pickled_by_rudf", master).unwrap().python(&python).argument(&target).run(&scratch).unwrap();
    must_succeed(&finished);
    let results = read(&target);
    let results = results.as_object().unwrap();
    assert!(results.len() > 25, "{} checks are fewer than there should be", results.len());
    for (check, outcome) in results {
        assert_eq!(outcome, &Value::Bool(true), "{check}: {outcome}\n{}", finished.tail());
    }
    assert!(finished.log.contains("closure 'noise' (bytes, 3,145,"), "no warning of a large function");
}

#[test]
fn all_of_pyspark_pickles_through_rudf_in_local_mode() {
    pyspark_pickles_through_rudf(LOCAL, "pickled-local");
}

#[test]
fn all_of_pyspark_pickles_through_rudf_on_real_executors() {
    pyspark_pickles_through_rudf(CLUSTER, "pickled-cluster");
}
