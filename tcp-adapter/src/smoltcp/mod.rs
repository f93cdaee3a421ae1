//! The smoltcp plug-in.
