//! Finds out what a `python` is: its version, its packages, and the shared library that holds it.

use std::{path::PathBuf, process::Command};

use serde::{Deserialize, Serialize};

use crate::error::NativeError;

/// Run by the environment's own `python`; prints one line of JSON. `-c` and no site tricks: it must work everywhere.
const PROBE: &str = r#"
import importlib.util, json, os, sys, sysconfig
def has(name):
    try:
        return importlib.util.find_spec(name) is not None
    except Exception:
        return False
variable = sysconfig.get_config_var
names = [n for n in (variable("INSTSONAME"), variable("LDLIBRARY")) if n and ".so" in n]
libdir, multiarch = variable("LIBDIR") or "", variable("MULTIARCH") or ""
folders = [libdir, os.path.join(libdir, multiarch), variable("LIBPL") or "", os.path.join(sys.base_prefix, "lib"),
           os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(sys.executable))), "lib")]
if not names:
    names = ["libpython%d.%d.so.1.0" % sys.version_info[:2]]
print(json.dumps({
    "executable": sys.executable,
    "implementation": sys.implementation.name,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "free_threaded": bool(variable("Py_GIL_DISABLED")),
    "library_names": list(dict.fromkeys(names)),
    "library_folders": [f for f in dict.fromkeys(folders) if f],
    "packages": {name: has(name) for name in ("numpy", "pandas", "pyarrow", "pyspark")},
}))
"#;

/// What a Python environment says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Environment {
    pub executable: String,
    pub implementation: String,
    /// `major.minor.patch`.
    pub version: String,
    pub free_threaded: bool,
    /// File names that its shared library may have, likeliest first.
    pub library_names: Vec<String>,
    /// Folders where it may lie, likeliest first.
    pub library_folders: Vec<String>,
    /// Which of the packages that some kinds of UDF need are there.
    pub packages: std::collections::BTreeMap<String, bool>,
}

impl Environment {
    /// Asks `python` about itself.
    pub(super) fn discover(python: &str) -> Result<Self, NativeError> {
        let refuse = |why: String| NativeError::Environment(format!("Python `{python}` cannot be used: {why}"));
        let output = Command::new(python)
            .args(["-c", PROBE])
            .stdin(std::process::Stdio::null())
            .output()
            .map_err(|error| refuse(format!("it cannot be started ({error})")))?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            let last = error.lines().last().unwrap_or("it said nothing");
            return Err(refuse(format!("it ended with {}: {last}", output.status)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        // A sitecustomize may print too: the answer is the last line.
        let environment: Self = serde_json::from_str(text.lines().last().unwrap_or_default())
            .map_err(|error| refuse(format!("its answer about itself was not understood ({error})")))?;
        if environment.implementation != "cpython" {
            return Err(refuse(format!("it is {}, and only CPython can be embedded", environment.implementation)));
        }
        if environment.free_threaded {
            return Err(refuse("free-threaded builds are not supported yet".to_owned()));
        }
        Ok(environment)
    }

    /// Files that may be this environment's shared library, likeliest first; a bare name is left to the system's search.
    pub(super) fn library_candidates(&self) -> Vec<PathBuf> {
        let in_folders = self
            .library_folders
            .iter()
            .flat_map(|folder| self.library_names.iter().map(move |name| PathBuf::from(folder).join(name)))
            .filter(|path| path.is_file());
        in_folders.chain(self.library_names.iter().map(PathBuf::from)).collect()
    }

    /// `major.minor`.
    pub(super) fn minor_version(&self) -> &str {
        self.version.rsplit_once('.').map_or(&self.version, |(minor, _)| minor)
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_python_on_the_path_describes_itself() {
        let environment = Environment::discover("python3").unwrap();
        assert!(environment.version.starts_with("3."), "{environment:?}");
        assert_eq!(environment.minor_version().matches('.').count(), 1);
        assert!(environment.executable.starts_with('/'));
    }

    #[test]
    fn something_that_is_no_python_is_refused_by_name() {
        let missing = Environment::discover("/no/such/python").unwrap_err().to_string();
        assert!(missing.contains("/no/such/python") && missing.contains("cannot be started"), "{missing}");
        let other = Environment::discover("true").unwrap_err().to_string();
        assert!(other.contains("was not understood"), "{other}");
        let failing = Environment::discover("false").unwrap_err().to_string();
        assert!(failing.contains("exit status: 1"), "{failing}");
    }
}
