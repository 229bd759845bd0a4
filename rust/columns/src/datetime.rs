//! Python's dates and times, made by the C functions of its `datetime` module, and local time without a call of Python
//! for each value.
//!
//! PySpark makes a local time of a timestamp with `astimezone().replace(tzinfo=None)`. The offset of a time zone changes
//! rarely, so it is asked for both ends of a quarter of an hour: where they agree it holds in between, and where they do
//! not, every value is given to Python.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::{c_int, c_void},
};

use pyo3::{ffi, prelude::*};

/// Days from 0001-01-01 to 1970-01-01, and what Python calls the first and the last day.
const FIRST_DAY: i64 = -719_162;
const LAST_DAY: i64 = 2_932_896;
const DAY_MICROS: i64 = 86_400_000_000;
/// A quarter of an hour in microseconds.
const QUARTER: i64 = 900_000_000;
/// Quarters that are remembered: some years of them.
const MOST_QUARTERS: usize = 1 << 18;

type Object = *mut ffi::PyObject;

/// The beginning of `PyDateTime_CAPI` (CPython's `Include/datetime.h`): what the capsule `datetime.datetime_CAPI` holds.
/// It has only grown at its end since Python 3.7.
#[repr(C)]
struct DateTimeCapi {
    date_type: Object,
    datetime_type: Object,
    time_type: Object,
    delta_type: Object,
    tzinfo_type: Object,
    utc: Object,
    date: unsafe extern "C" fn(c_int, c_int, c_int, Object) -> Object,
    datetime: unsafe extern "C" fn(c_int, c_int, c_int, c_int, c_int, c_int, c_int, Object, Object) -> Object,
    time: unsafe extern "C" fn(c_int, c_int, c_int, c_int, Object, Object) -> Object,
    delta: unsafe extern "C" fn(c_int, c_int, c_int, c_int, Object) -> Object,
    timezone: *const c_void,
    datetime_from_timestamp: *const c_void,
    date_from_timestamp: *const c_void,
    datetime_and_fold:
        unsafe extern "C" fn(c_int, c_int, c_int, c_int, c_int, c_int, c_int, Object, c_int, Object) -> Object,
}

/// Makes and reads dates and times. Belongs to one session.
pub struct DateTimes {
    capi: &'static DateTimeCapi,
    /// `rudf.worker.datetimes`, for what is out of the ordinary.
    slow: Py<PyAny>,
    /// 1970-01-01 as a date and as a naive datetime.
    epoch_date: Py<PyAny>,
    epoch: Py<PyAny>,
    days: Py<PyAny>,
    seconds: Py<PyAny>,
    microseconds: Py<PyAny>,
    tzinfo: Py<PyAny>,
    /// What the offsets below were asked of; changes with `time.tzset`.
    zone: RefCell<Py<PyAny>>,
    from_utc: RefCell<Offsets>,
    to_utc: RefCell<Offsets>,
}

/// The offsets of local time by quarters of an hour.
#[derive(Default)]
struct Offsets {
    last: Option<(i64, i64, c_int)>,
    quarters: HashMap<i64, Quarter>,
}

#[derive(Clone, Copy)]
enum Quarter {
    /// Came up once: one value is not worth asking twice.
    Seen,
    /// Microseconds to add, and the `fold` of what comes of it.
    Even(i64, c_int),
    /// A transition lies inside.
    Uneven,
}

impl Offsets {
    /// Offset and fold for an instant, where its quarter has but one; `ask` says it of the first and last microsecond.
    fn get(&mut self, micros: i64, ask: impl FnOnce(i64, i64) -> Option<(i64, c_int)>) -> Option<(i64, c_int)> {
        let quarter = micros.div_euclid(QUARTER);
        if let Some((last, offset, fold)) = self.last
            && last == quarter
        {
            return Some((offset, fold));
        }
        let known = match self.quarters.get(&quarter).copied() {
            None => Quarter::Seen,
            Some(Quarter::Seen) => {
                let first = quarter.checked_mul(QUARTER);
                let asked = first.and_then(|first| ask(first, first.checked_add(QUARTER - 1)?));
                asked.map_or(Quarter::Uneven, |(offset, fold)| Quarter::Even(offset, fold))
            }
            Some(known) => {
                if let Quarter::Even(offset, fold) = known {
                    self.last = Some((quarter, offset, fold));
                    return Some((offset, fold));
                }
                return None;
            }
        };
        if self.quarters.len() >= MOST_QUARTERS {
            self.quarters.clear();
        }
        self.quarters.insert(quarter, known);
        if let Quarter::Even(offset, fold) = known { Some((offset, fold)) } else { None }
    }

    fn clear(&mut self) {
        self.last = None;
        self.quarters.clear();
    }
}

impl DateTimes {
    /// # Errors
    /// What importing Python's modules raises.
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let datetime = py.import("datetime")?;
        // SAFETY: the lock is held and the module is imported.
        let capi = unsafe { ffi::PyCapsule_Import(c"datetime.datetime_CAPI".as_ptr(), 0) };
        // SAFETY: the capsule holds a structure that lives as long as the interpreter and begins as declared above.
        let capi = unsafe { capi.cast::<DateTimeCapi>().as_ref() }.ok_or_else(|| PyErr::fetch(py))?;
        let slow = py.import("rudf.worker.datetimes")?;
        let name = |text| pyo3::types::PyString::intern(py, text).into_any().unbind();
        Ok(Self {
            capi,
            epoch_date: datetime.getattr("date")?.call1((1970, 1, 1))?.unbind(),
            epoch: datetime.getattr("datetime")?.call1((1970, 1, 1))?.unbind(),
            days: name("days"),
            seconds: name("seconds"),
            microseconds: name("microseconds"),
            tzinfo: name("tzinfo"),
            zone: RefCell::new(slow.call_method0("zone")?.unbind()),
            slow: slow.into_any().unbind(),
            from_utc: RefCell::default(),
            to_utc: RefCell::default(),
        })
    }

    /// Forgets the offsets of local time if the process has another time zone now. Called before each batch.
    ///
    /// # Errors
    /// What Python raises.
    pub fn refresh(&self, py: Python<'_>) -> PyResult<()> {
        let zone = self.slow.bind(py).call_method0("zone")?;
        if !self.zone.borrow().bind(py).eq(&zone)? {
            self.zone.replace(zone.unbind());
            self.from_utc.borrow_mut().clear();
            self.to_utc.borrow_mut().clear();
        }
        Ok(())
    }

    /// Days since 1970-01-01 as a `date`: a new reference, or null with an exception set, as of all the following.
    pub(crate) fn date(&self, py: Python<'_>, days: i32) -> Object {
        if !(FIRST_DAY..=LAST_DAY).contains(&i64::from(days)) {
            return self.call(py, "date_of_days", days.into());
        }
        let (year, month, day) = civil(days.into());
        // SAFETY: the lock is held, and the function is the date type's own.
        unsafe { (self.capi.date)(year, month, day, self.capi.date_type) }
    }

    /// Microseconds since 1970-01-01 UTC as a naive `datetime` in the worker's own time zone.
    pub(crate) fn local(&self, py: Python<'_>, micros: i64) -> Object {
        let ask = |first, last| self.ask(py, "offset_from_utc", first, last);
        let known = self.from_utc.borrow_mut().get(micros, ask);
        match known.and_then(|(offset, fold)| Some((micros.checked_add(offset)?, fold))) {
            Some((local, fold)) if in_range(local) => self.datetime(local, fold),
            _ => self.call(py, "local_of_micros", micros),
        }
    }

    /// Microseconds since 1970-01-01 UTC as a `datetime` in UTC.
    pub(crate) fn aware(&self, py: Python<'_>, micros: i64) -> Object {
        self.call(py, "utc_of_micros", micros)
    }

    /// Microseconds since 1970-01-01 as a naive `datetime`.
    pub(crate) fn naive(&self, py: Python<'_>, micros: i64) -> Object {
        if in_range(micros) { self.datetime(micros, 0) } else { self.call(py, "naive_of_micros", micros) }
    }

    /// `micros` are in range.
    fn datetime(&self, micros: i64, fold: c_int) -> Object {
        let (year, month, day) = civil(micros.div_euclid(DAY_MICROS));
        let (hour, minute, second, rest) = clock(micros.rem_euclid(DAY_MICROS));
        // SAFETY: the caller holds the lock (it has a `Python`), and the function is the datetime type's own.
        unsafe {
            let (none, kind) = (ffi::Py_None(), self.capi.datetime_type);
            (self.capi.datetime_and_fold)(year, month, day, hour, minute, second, rest, none, fold, kind)
        }
    }

    /// Nanoseconds since midnight as a `time`, which has microseconds.
    pub(crate) fn time(&self, _py: Python<'_>, nanos: i64) -> Object {
        let (hour, minute, second, rest) = clock(nanos / 1000);
        // SAFETY: the lock is held, and the function is the time type's own; it refuses what is out of range.
        unsafe { (self.capi.time)(hour, minute, second, rest, ffi::Py_None(), self.capi.time_type) }
    }

    /// Microseconds as a `timedelta`.
    pub(crate) fn delta(&self, _py: Python<'_>, micros: i64) -> Object {
        let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000) as c_int);
        let (days, seconds) = (seconds.div_euclid(86_400) as c_int, seconds.rem_euclid(86_400) as c_int);
        // SAFETY: the lock is held, and the function is the timedelta type's own.
        unsafe { (self.capi.delta)(days, seconds, rest, 0, self.capi.delta_type) }
    }

    /// Days since 1970-01-01 of an object that is of the type `date` itself; `Some(Err)` with an exception set.
    ///
    /// # Safety
    /// `value` is a live Python object; the same holds for the following.
    pub(crate) unsafe fn days_of(&self, py: Python<'_>, value: Object) -> Option<Result<i32, ()>> {
        // SAFETY: the lock is held and the objects are live.
        unsafe {
            if ffi::Py_TYPE(value).cast() != self.capi.date_type {
                return None;
            }
            let distance = ffi::PyNumber_Subtract(value, self.epoch_date.as_ptr());
            let days = self.attribute(py, distance, &self.days);
            ffi::Py_XDECREF(distance);
            Some(days.and_then(|days| i32::try_from(days).ok()).ok_or(()))
        }
    }

    /// Microseconds since 1970-01-01 of a naive object of the type `datetime` itself.
    pub(crate) unsafe fn naive_micros(&self, py: Python<'_>, value: Object) -> Option<Result<i64, ()>> {
        // SAFETY: the lock is held and the objects are live.
        unsafe {
            if ffi::Py_TYPE(value).cast() != self.capi.datetime_type || !self.is_naive(py, value) {
                return None;
            }
            let distance = ffi::PyNumber_Subtract(value, self.epoch.as_ptr());
            let micros = self.delta_micros(py, distance);
            ffi::Py_XDECREF(distance);
            Some(micros.ok_or(()))
        }
    }

    /// Microseconds since 1970-01-01 UTC of an object of the type `datetime` itself; a naive one is in the worker's own
    /// time zone.
    pub(crate) unsafe fn instant(&self, py: Python<'_>, value: Object) -> Option<Result<i64, ()>> {
        // SAFETY: the lock is held and the objects are live.
        unsafe {
            if ffi::Py_TYPE(value).cast() != self.capi.datetime_type {
                return None;
            }
            let local = match self.naive_micros(py, value) {
                Some(Ok(local)) => local,
                Some(Err(())) => return Some(Err(())),
                None => return Some(self.slow_instant(py, value)),
            };
            let ask = |first, last| self.ask(py, "offset_to_utc", first, last);
            let known = self.to_utc.borrow_mut().get(local, ask);
            match known.and_then(|(offset, _)| local.checked_add(offset)) {
                Some(micros) => Some(Ok(micros)),
                None => Some(self.slow_instant(py, value)),
            }
        }
    }

    /// Microseconds of an object of the type `timedelta` itself, where a column can hold them.
    pub(crate) unsafe fn micros_of_delta(&self, py: Python<'_>, value: Object) -> Option<i64> {
        // SAFETY: the lock is held and the object is live.
        unsafe {
            if ffi::Py_TYPE(value).cast() != self.capi.delta_type {
                return None;
            }
            let micros = self.delta_micros(py, value);
            if micros.is_none() {
                ffi::PyErr_Clear();
            }
            micros
        }
    }

    unsafe fn slow_instant(&self, py: Python<'_>, value: Object) -> Result<i64, ()> {
        // SAFETY: the value is live (the caller's promise).
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        let micros =
            self.slow.bind(py).call_method1("micros_of_datetime", (value,)).and_then(|micros| micros.extract());
        micros.map_err(|error| error.restore(py))
    }

    unsafe fn is_naive(&self, py: Python<'_>, value: Object) -> bool {
        // SAFETY: the lock is held and the objects are live; what the attribute is, is only compared.
        unsafe {
            let zone = ffi::PyObject_GetAttr(value, self.tzinfo.as_ptr());
            ffi::Py_XDECREF(zone);
            zone == py.None().as_ptr()
        }
    }

    /// Microseconds of a `timedelta` (or null); none where they are too many, or with an exception set.
    unsafe fn delta_micros(&self, py: Python<'_>, delta: Object) -> Option<i64> {
        // SAFETY: the lock is held and the object is live or null.
        unsafe {
            let days = self.attribute(py, delta, &self.days)?;
            let seconds = self.attribute(py, delta, &self.seconds)?;
            let rest = self.attribute(py, delta, &self.microseconds)?;
            days.checked_mul(DAY_MICROS)?.checked_add(seconds * 1_000_000 + rest)
        }
    }

    unsafe fn attribute(&self, _py: Python<'_>, object: Object, name: &Py<PyAny>) -> Option<i64> {
        if object.is_null() {
            return None;
        }
        // SAFETY: the lock is held and the object is live.
        unsafe {
            let value = ffi::PyObject_GetAttr(object, name.as_ptr());
            if value.is_null() {
                return None;
            }
            let number = ffi::PyLong_AsLongLong(value);
            ffi::Py_DECREF(value);
            Some(number)
        }
    }

    /// Offset and fold of a whole quarter of an hour; none where it has several, or Python cannot say.
    fn ask(&self, py: Python<'_>, function: &str, first: i64, last: i64) -> Option<(i64, c_int)> {
        self.slow.bind(py).call_method1(function, (first, last)).and_then(|answer| answer.extract()).ok().flatten()
    }

    fn call(&self, py: Python<'_>, function: &str, argument: i64) -> Object {
        match self.slow.bind(py).call_method1(function, (argument,)) {
            Ok(value) => value.into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    }
}

fn in_range(micros: i64) -> bool {
    (FIRST_DAY..=LAST_DAY).contains(&micros.div_euclid(DAY_MICROS))
}

/// Hour, minute, second and microsecond of a day's microseconds.
fn clock(micros: i64) -> (c_int, c_int, c_int, c_int) {
    let seconds = micros / 1_000_000;
    ((seconds / 3600) as c_int, (seconds / 60 % 60) as c_int, (seconds % 60) as c_int, (micros % 1_000_000) as c_int)
}

/// Year, month and day of days since 1970-01-01, in the calendar that Python extends to the year 1. Years are counted
/// from March, so that the leap day is the last, in spans of 400 that have the same number of days.
fn civil(days: i64) -> (c_int, c_int, c_int) {
    let days = days + 719_468;
    let span = days.div_euclid(146_097);
    let day_of_span = days.rem_euclid(146_097);
    let year_of_span = (day_of_span - day_of_span / 1460 + day_of_span / 36_524 - day_of_span / 146_096) / 365;
    let day_of_year = day_of_span - (365 * year_of_span + year_of_span / 4 - year_of_span / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_span + span * 400 + i64::from(month <= 2);
    (year as c_int, month as c_int, day as c_int)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_follows_the_one_before() {
        let length = |year: c_int, month: c_int| match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let mut expected = (1, 1, 1);
        for day in FIRST_DAY..=LAST_DAY {
            assert_eq!(civil(day), expected, "day {day}");
            let (year, month, day) = expected;
            expected = match () {
                () if day < length(year, month) => (year, month, day + 1),
                () if month < 12 => (year, month + 1, 1),
                () => (year + 1, 1, 1),
            };
        }
        assert_eq!(expected, (10_000, 1, 1));
        assert_eq!(civil(0), (1970, 1, 1));
    }
}
