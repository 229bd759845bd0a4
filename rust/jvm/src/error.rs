//! What goes wrong in the JNI library, and the Java exception that tells of it.

use jni::{Env, JValue, errors::ErrorPolicy, jni_sig, jni_str};
use rudf_segment::worker::{Failure, FailureKind};

/// A failure on its way to Java, where it becomes an `org.rudf.spark.RudfNativeException` with the kind's number.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// The user's function failed; the text is the Python traceback.
    #[error("{0}")]
    Python(String),
    /// This executor cannot run the function; Spark's own path may.
    #[error("{0}")]
    Environment(String),
    /// A defect in rudf, or a message or batch that breaks the protocol.
    #[error("{0}")]
    Internal(String),
    /// A worker process died, or was ended because it took too long.
    #[error("{0}")]
    Crashed(String),
    /// A JNI call failed, or a Java exception is already pending.
    #[error("JNI: {0}")]
    Jni(#[from] jni::errors::Error),
}

impl NativeError {
    /// The kind as Java sees it.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Python(_) => FailureKind::Python,
            Self::Environment(_) => FailureKind::Environment,
            Self::Crashed(_) => FailureKind::Crashed,
            Self::Internal(_) | Self::Jni(_) => FailureKind::Internal,
        }
    }

    /// Takes the text out of a failure that the worker filled, and gives its memory back.
    #[must_use]
    pub fn from_failure(failure: &Failure) -> Self {
        let text = if failure.text.is_null() {
            "no text was given".to_owned()
        } else {
            // SAFETY: the worker filled `text` and `length` together (see `Failure`), and `release` has not run yet.
            let bytes = unsafe { std::slice::from_raw_parts(failure.text, failure.length) };
            String::from_utf8_lossy(bytes).into_owned()
        };
        if let Some(release) = failure.release {
            // SAFETY: called once with the very values that the worker filled in.
            unsafe { release(failure.text, failure.length) };
        }
        Self::of_code(failure.kind, text)
    }

    /// A failure by the number of its kind; a number that is none is a defect.
    #[must_use]
    pub fn of_code(kind: u32, text: String) -> Self {
        match kind {
            kind if kind == FailureKind::Python as u32 => Self::Python(text),
            kind if kind == FailureKind::Environment as u32 => Self::Environment(text),
            _ => Self::Internal(text),
        }
    }
}

/// Throws a [`NativeError`] (or a panic) as `RudfNativeException` and returns the default value.
#[derive(Debug, Default)]
pub struct ThrowNative;

fn throw(env: &mut Env<'_>, kind: FailureKind, text: &str) -> jni::errors::Result<()> {
    let class = env.find_class(jni_str!("org/rudf/spark/RudfNativeException"))?;
    let message = env.new_string(text)?;
    let exception = env.new_object(
        class,
        jni_sig!("(ILjava/lang/String;)V"),
        &[JValue::Int(kind as i32), JValue::Object(&message)],
    )?;
    let throwable = env.cast_local::<jni::objects::JThrowable>(exception)?;
    match env.throw(throwable) {
        // `throw` reports the exception it has just made pending: that is what was wanted.
        Err(jni::errors::Error::JavaException) | Ok(()) => Ok(()),
        Err(other) => Err(other),
    }
}

impl<T: Default> ErrorPolicy<T, NativeError> for ThrowNative {
    type Captures<'unowned_env_local: 'native_method, 'native_method> = ();

    fn on_error<'unowned_env_local: 'native_method, 'native_method>(
        env: &mut Env<'unowned_env_local>,
        _captures: &mut Self::Captures<'unowned_env_local, 'native_method>,
        error: NativeError,
    ) -> jni::errors::Result<T> {
        if !env.exception_check() {
            throw(env, error.kind(), &error.to_string())?;
        }
        Ok(T::default())
    }

    fn on_panic<'unowned_env_local: 'native_method, 'native_method>(
        env: &mut Env<'unowned_env_local>,
        _captures: &mut Self::Captures<'unowned_env_local, 'native_method>,
        payload: Box<dyn std::any::Any + Send + 'static>,
    ) -> jni::errors::Result<T> {
        let text = payload
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "unknown panic".to_owned());
        throw(env, FailureKind::Internal, &format!("defect in rudf's native library: {text}"))?;
        Ok(T::default())
    }
}
