//! What is to be said of a projection beside its state, and what it means for who waits.

/// A sentence for a person; empty where there is nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) kind: NoteKind,
}

/// What a note is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NoteKind {
    /// Something that a person should know.
    #[default]
    Remark,
    /// A generation is ready, and a person decides on it.
    Decision,
    /// A cutover did not happen and is tried again.
    Hindered,
    /// The last step of a cutover waits.
    Finishing,
}

impl Note {
    pub(crate) fn new(kind: NoteKind, text: String) -> Self {
        Self { text, kind }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl From<String> for Note {
    fn from(text: String) -> Self {
        Self::new(NoteKind::Remark, text)
    }
}
