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
const LEFT_TO_SPARK: [&str; 3] = ["accumulator", "unsupported argument", "unsupported result"];

fn both_paths_give_the_same(master: &str, name: &str) {
    let _machine = machine();
    let scratch = scratch(name).unwrap();
    let target = scratch.join("results.json");
    let job = Job::new("differential", master).unwrap().argument(&target).argument(&scratch.join("data"));
    must_succeed(&job.run(&scratch).unwrap());
    let results = read(&target);
    let results = results.as_object().unwrap();
    assert!(results.len() > 100, "{} queries are fewer than there should be", results.len());
    let mut wrong = Vec::new();
    for (query, outcome) in results {
        let (off, on) = (&outcome["off"], &outcome["on"]);
        for part in ["error", "text", "schema", "rows"] {
            if off[part] != on[part] {
                wrong.push(format!("{query}: {part}\n  Spark: {}\n  rudf:  {}", off[part], on[part]));
            }
        }
        let taken = on["rudf"].as_bool().unwrap_or(true);
        if taken == LEFT_TO_SPARK.contains(&query.as_str()) {
            wrong.push(format!("{query}: rudf took it: {taken}"));
        }
        if off["rudf"].as_bool() == Some(true) {
            wrong.push(format!("{query}: rudf ran although it was off"));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn both_paths_give_the_same_answers_and_errors_in_local_mode() {
    both_paths_give_the_same(LOCAL, "differential-local");
}

#[test]
fn both_paths_give_the_same_answers_and_errors_on_real_executors() {
    both_paths_give_the_same(CLUSTER, "differential-cluster");
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

fn failures_do_no_harm(master: &str, name: &str) {
    let _machine = machine();
    let scratch = scratch(name).unwrap();
    let target = scratch.join("results.json");
    let finished = Job::new("failures", master).unwrap().argument(&target).run(&scratch).unwrap();
    must_succeed(&finished);
    let results = read(&target);
    for (failure, outcome) in results.as_object().unwrap() {
        assert_eq!(outcome, &Value::Bool(true), "{failure}: {outcome}\n{}", finished.tail());
    }
}

#[test]
fn failures_of_functions_are_told_and_do_no_harm_in_local_mode() {
    failures_do_no_harm(LOCAL, "failures-local");
}

#[test]
fn failures_of_functions_are_told_and_do_no_harm_on_real_executors() {
    failures_do_no_harm(CLUSTER, "failures-cluster");
}

/// Whatever rudf lacks on an executor, the job runs on Spark's own path and says why.
fn runs_on_sparks_path(master: &str, name: &str, conf: (&str, &str), why: &str) {
    let _machine = machine();
    let scratch = scratch(name).unwrap();
    let target = scratch.join("results.json");
    let job = Job::new("left_to_spark", master).unwrap().conf(conf.0, conf.1).argument(&target);
    let finished = job.run(&scratch).unwrap();
    must_succeed(&finished);
    let results = read(&target);
    assert_eq!(results["sum"], 2 * (0..1000).sum::<i64>());
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
