//! Names of devices and channels.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::number::{Number, Text};
use super::super::range::Coder;
use super::super::{ChunkError, damaged};
use super::{Budget, NAME_BYTES, index, text};

/// Names told once and then by number.
#[derive(Debug)]
pub(in crate::queue::chunk) struct Names {
    pub(in crate::queue::chunk) known: Vec<Arc<str>>,
    pub(super) number_of: HashMap<Arc<str>, usize>,
    number: Number,
    expected: u64,
    text: Text,
}

impl Names {
    pub(super) fn new() -> Self {
        let (known, number_of) = (Vec::new(), HashMap::new());
        Self { known, number_of, number: Number::NEW, expected: 0, text: Text::new() }
    }

    /// The number of `name`, which a reader need not know.
    pub(super) fn code<C: Coder>(
        &mut self,
        coder: &mut C,
        budget: &mut Budget,
        name: &str,
    ) -> Result<usize, ChunkError> {
        let next = self.known.len();
        let number = self.number_of.get(name).copied().unwrap_or(next);
        let number = self.number.near(coder, self.expected, number as u64);
        self.expected = number.wrapping_add(1);
        let number = index(number, next)?;
        if number == next {
            let bytes = self.text.code(coder, name.as_bytes(), budget.0);
            let bytes = bytes.ok_or_else(|| damaged("a name is too long"))?;
            budget.take(NAME_BYTES + 2 * bytes.len())?;
            let name: Arc<str> = text(bytes)?.into();
            self.number_of.insert(Arc::clone(&name), number);
            self.known.push(name);
        }
        Ok(number)
    }
}
