//! What to do about objects that are met often and cannot travel: the last sentence of an error.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::frame::Frame;
use crate::global::type_name;
use crate::save::Saver;

const SESSION: &str = "a Spark session or context lives on the driver only: take out of it what the function needs";
const FRAME: &str = "a DataFrame lives on the driver only: join with it, or collect or broadcast its rows first";
const RDD: &str = "an RDD lives on the driver only: join with it, or collect or broadcast its values first";
const COLUMN: &str = "a Column stands for values that Spark computes: use it outside of the function, as an argument, and \
                      compute with the row's values inside";
const SPARK: &str = "this object of Spark lives on the driver only: take out of it what the function needs";
const JAVA: &str = "Java objects live on the driver only: take out of them what the function needs";
const MAPPED: &str = "classes that SQLAlchemy maps belong to a registry of one process: define them in a module that \
                      workers import";
const CONNECTION: &str = "open the connection inside the function, on the worker";
const FILE: &str = "open the file inside the function, on the worker";

/// By module (what it starts with) and name of the class or a base of it. An object of these says more than the part of
/// it that could not be pickled.
const OBJECTS: &[(&str, &str, &str)] = &[
    ("pyspark.", "SparkSession", SESSION),
    ("pyspark.", "SparkContext", SESSION),
    ("pyspark.", "StreamingContext", SESSION),
    ("pyspark.", "DataFrame", FRAME),
    ("pyspark.", "RDD", RDD),
    ("pyspark.", "Column", COLUMN),
    ("pyspark.", "GroupedData", FRAME),
    ("pyspark.", "DataFrameReader", SESSION),
    ("pyspark.", "DataFrameWriter", FRAME),
    ("pyspark.", "DataStreamReader", SESSION),
    ("pyspark.", "DataStreamWriter", FRAME),
    ("pyspark.", "Catalog", SESSION),
    ("pyspark.", "RuntimeConfig", SESSION),
    ("pyspark.", "RuntimeConf", SESSION),
    ("pyspark.", "StreamingQuery", SPARK),
    ("pyspark.", "JavaWrapper", SPARK),
    ("pyspark.sql.connect.", "SparkConnectClient", SESSION),
    ("py4j.", "", JAVA),
    ("sqlalchemy.orm.", "registry", MAPPED),
    ("socket", "socket", CONNECTION),
    ("ssl", "SSLSocket", CONNECTION),
    ("http.client", "HTTPConnection", CONNECTION),
    ("tempfile", "_TemporaryFileWrapper", FILE),
];

/// By a part of the message.
const MESSAGES: &[(&str, &str)] = &[
    ("RDD_TRANSFORM", RDD),
    ("SparkContext", SESSION),
    ("SparkSession", SESSION),
    ("DataFrame", FRAME),
    ("_thread._local", "data of a thread belongs to one process: make it inside the function, on the worker"),
    ("_thread.", "create the lock where it is used, or leave it out in __getstate__"),
    ("_queue.", "queues connect threads of one process: make it inside the function, on the worker"),
    ("_contextvars.", "the values of context variables belong to one process: pass the value instead"),
    ("socket", CONNECTION),
    ("Connection", CONNECTION),
    ("TextIOWrapper", FILE),
    ("_io.", FILE),
    // From Python 3.12 on they are named without their module.
    ("'Buffered", FILE),
    ("'FileIO'", FILE),
    ("closed files", FILE),
    ("mmap", FILE),
    ("coroutine", "a running coroutine has no picklable state: pass the function that makes it"),
    ("generator", "a running generator has no picklable state: pass the function that makes it, or a list"),
    ("'frame'", "frames belong to a running process: keep what is needed of it, such as names and lines"),
    ("traceback", "tracebacks belong to a running process: keep the text of traceback.format_exc()"),
    ("weakref", "pass the object itself instead of a weak reference to it"),
    ("py4j", JAVA),
];

impl<'py> Saver<'py> {
    /// A hint for the work as it stands, where there is one.
    pub(crate) fn hint(&self, message: &str) -> Option<String> {
        let subjects = || {
            self.stack.iter().filter_map(|frame| match frame {
                Frame::Script(script) => script.subject.as_ref(),
                _ => None,
            })
        };
        if let Some(hint) = subjects().find_map(of_object) {
            return Some(hint.to_owned());
        }
        let (part, hint) = MESSAGES.iter().find(|(part, _)| message.contains(part))?;
        // A lock that someone else's class keeps is none that the user made.
        if *part == "_thread."
            && let Some(owner) = subjects().find(|subject| from_library(subject))
        {
            return Some(format!(
                "a {} keeps locks, which belong to one process: make it inside the function, on the worker",
                type_name(owner)
            ));
        }
        Some((*hint).to_owned())
    }
}

fn names_of(class: &Bound<'_, PyAny>) -> Option<(String, String)> {
    let text = |name: &str| class.getattr(name).ok()?.cast_into::<PyString>().ok()?.extract::<String>().ok();
    Some((text("__module__")?, text("__name__")?))
}

fn of_object(subject: &Bound<'_, PyAny>) -> Option<&'static str> {
    let classes: Vec<_> = subject.get_type().mro().iter().filter_map(|class| names_of(&class)).collect();
    let matching = |(module, name, _): &&(&str, &str, &str)| {
        classes.iter().any(|(of, class)| of.starts_with(module) && (name.is_empty() || class == name))
    };
    OBJECTS.iter().find(matching).map(|(_, _, hint)| *hint)
}

/// Whether an object's class can be imported, and is no plain holder of values.
fn from_library(subject: &Bound<'_, PyAny>) -> bool {
    let Some((module, name)) = names_of(subject.get_type().as_any()) else { return false };
    !["__main__", "builtins", "types", "collections", "functools"].contains(&module.as_str())
        && subject.py().import(module.as_str()).is_ok_and(|module| module.getattr_opt(name).ok().flatten().is_some())
}
