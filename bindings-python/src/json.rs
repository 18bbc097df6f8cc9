//! JSON of answers as objects of Python: the interpreter's own reader takes as long as the rest of a call.

use std::fmt;

use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyType},
};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Reads one JSON value; objects become instances of `kind`, which is a kind of dictionary. `ValueError` for anything else.
#[pyfunction]
pub(crate) fn decode<'py>(text: &str, kind: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let mut json = serde_json::Deserializer::from_str(text);
    Reader { kind }
        .deserialize(&mut json)
        .and_then(|value| json.end().map(|()| value))
        .map_err(|e| PyValueError::new_err(e.to_string()))
}

#[derive(Clone, Copy)]
struct Reader<'a, 'py> {
    kind: &'a Bound<'py, PyType>,
}

/// A name in an object.
struct Name<'py>(Python<'py>);

impl<'de, 'py> DeserializeSeed<'de> for Name<'py> {
    type Value = Bound<'py, PyString>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'py> Visitor<'_> for Name<'py> {
    type Value = Bound<'py, PyString>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(PyString::new(self.0, text))
    }
}

impl<'de, 'py> DeserializeSeed<'de> for Reader<'_, 'py> {
    type Value = Bound<'py, PyAny>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, 'py> Visitor<'de> for Reader<'_, 'py> {
    type Value = Bound<'py, PyAny>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(self.kind.py().None().into_bound(self.kind.py()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(PyBool::new(self.kind.py(), value).to_owned().into_any())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(PyInt::new(self.kind.py(), value).into_any())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(PyInt::new(self.kind.py(), value).into_any())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(PyFloat::new(self.kind.py(), value).into_any())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(PyString::new(self.kind.py(), text).into_any())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let list = PyList::empty(self.kind.py());
        while let Some(item) = items.next_element_seed(self)? {
            list.append(item).map_err(A::Error::custom)?;
        }
        Ok(list.into_any())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let object = self.kind.call0().map_err(A::Error::custom)?;
        let row = object.cast::<PyDict>().map_err(A::Error::custom)?;
        while let Some(name) = fields.next_key_seed(Name(self.kind.py()))? {
            let value = fields.next_value_seed(self)?;
            row.set_item(name, value).map_err(A::Error::custom)?;
        }
        Ok(object)
    }
}
