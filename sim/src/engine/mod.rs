//! What happens next.

mod agenda;

pub(crate) use agenda::Agenda;
