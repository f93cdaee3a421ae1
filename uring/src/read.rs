//! Reading into memory that was never written.

use std::io;
use std::os::fd::AsFd;

use bytes::{BufMut, BytesMut};

/// Reads what there is, up to the room that `buffer` has, and appends it. Returns the number of bytes; 0 at the end, or without room.
///
/// # Errors
/// The operating system's.
pub fn read_into(descriptor: impl AsFd, buffer: &mut BytesMut) -> io::Result<usize> {
    let (read, _) = rustix::io::read(descriptor, buffer.spare_capacity_mut())?;
    let count = read.len();
    // SAFETY: these bytes of the spare capacity have just been written.
    unsafe { buffer.advance_mut(count) };
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_read_is_appended_up_to_the_room() {
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("descriptors");
        ours.write_all(b"0123456789").expect("room");
        drop(ours);
        let mut buffer = BytesMut::with_capacity(8);
        buffer.extend_from_slice(b"ab");
        let room = buffer.capacity() - buffer.len();
        assert_eq!(read_into(&theirs, &mut buffer).expect("bytes"), room.min(10));
        assert_eq!(&buffer[..], &b"ab0123456789"[..2 + room.min(10)]);
        let mut rest = BytesMut::with_capacity(64);
        assert_eq!(read_into(&theirs, &mut rest).expect("bytes"), 10 - room.min(10));
        assert_eq!(read_into(&theirs, &mut rest).expect("the end"), 0);
    }
}
