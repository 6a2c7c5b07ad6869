//! Everything that is wrong with a configuration, said at once.

use std::fmt;
use std::path::PathBuf;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line in the file, from 1; None when it is not in the file (an environment variable, a missing file).
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// A configuration that cannot be used: at least one mistake, in the order of the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file.
    pub file: PathBuf,
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

impl ConfigErrors {
    pub(super) fn one(file: PathBuf, message: String) -> Self {
        Self {
            file,
            mistakes: vec![Mistake { line: None, message }],
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        let said = |mistake: &Mistake| match mistake.line {
            Some(line) => format!("line {line}: {}", mistake.message),
            None => mistake.message.clone(),
        };
        match self.mistakes.as_slice() {
            [only] => write!(f, "{file}: {}", said(only)),
            many => {
                write!(f, "{file} has {} mistakes:", many.len())?;
                many.iter()
                    .try_for_each(|mistake| write!(f, "\n  {}", said(mistake)))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}
