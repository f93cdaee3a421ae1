//! What the kernel knows of a connection: fallback, subflows, bytes on each.
//!
//! Layouts are those of `linux/mptcp.h` and `linux/tcp.h`; both only ever grow at the end, so
//! fields are read at their fixed offsets and what an older kernel does not have reads as missing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use super::kernel::{KernelStream, canonical};
use super::report::{StreamReport, SubflowReport};

const SOL_MPTCP: libc::c_int = 284;
const MPTCP_INFO: libc::c_int = 1;
const MPTCP_TCPINFO: libc::c_int = 2;
const MPTCP_SUBFLOW_ADDRS: libc::c_int = 3;

/// `mptcpi_flags` of `struct mptcp_info`, and the bit that says fallback.
const INFO_FLAGS: usize = 8;
const INFO_FLAG_FALLBACK: u32 = 1;

/// `struct mptcp_subflow_data`: four 32-bit counts, then the array.
const ARRAY_HEADER: usize = 16;
/// Subflows to ask for: the kernel has 64 at most besides the first (`MPTCP_SUBFLOWS_MAX`).
const MAX_SUBFLOWS: usize = 65;
/// `struct mptcp_subflow_addrs`: two unions as long as `struct sockaddr_storage`.
const SOCKADDR_STORAGE: usize = 128;
/// Enough of `struct tcp_info` to hold `tcpi_bytes_sent`.
const TCP_INFO_LEN: usize = 208;
const TCP_BYTES_ACKED: usize = 120;
const TCP_BYTES_RECEIVED: usize = 128;

/// Asks the kernel about a connection of its own.
pub(super) fn report(stream: &KernelStream) -> StreamReport {
    if stream.multipath
        && let Some(report) = multipath_report(&stream.socket)
    {
        return report;
    }
    // A fallen-back socket answers questions about Multipath TCP with EOPNOTSUPP.
    let fallback = stream.multipath.then(|| "the kernel fell back to TCP".to_owned());
    let mut info = [0; TCP_INFO_LEN];
    let len = option(&stream.socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info);
    let subflows = len.map(|len| subflow(stream.local, stream.remote, &info[..len])).into_iter().collect();
    StreamReport { transport: "kernel tcp", fallback, subflows }
}

fn multipath_report(stream: &TcpStream) -> Option<StreamReport> {
    let mut info = [0; 72];
    let len = option(stream, SOL_MPTCP, MPTCP_INFO, &mut info)?;
    let flags = u32_at(&info[..len], INFO_FLAGS)?;
    let fallback = (flags & INFO_FLAG_FALLBACK != 0).then(|| "the kernel fell back to TCP".to_owned());
    let tcp = array(stream, MPTCP_TCPINFO, TCP_INFO_LEN)?;
    let addrs = array(stream, MPTCP_SUBFLOW_ADDRS, 2 * SOCKADDR_STORAGE)?;
    let subflows = addrs
        .iter()
        .zip(&tcp)
        .filter_map(|(addrs, tcp)| {
            let (local, remote) = addrs.split_at_checked(SOCKADDR_STORAGE)?;
            let remote = sockaddr(remote)?;
            // The shell of a connection that is closed has no port any more.
            (remote.port() != 0).then_some(subflow(sockaddr(local)?, remote, tcp))
        })
        .collect();
    Some(StreamReport { transport: "kernel mptcp", fallback, subflows })
}

fn subflow(local: SocketAddr, remote: SocketAddr, tcp_info: &[u8]) -> SubflowReport {
    SubflowReport {
        id: 0,
        local,
        remote,
        sent: u64_at(tcp_info, TCP_BYTES_ACKED).unwrap_or(0),
        received: u64_at(tcp_info, TCP_BYTES_RECEIVED).unwrap_or(0),
        live: true,
    }
}

/// The elements of one of the options that answer with an array, each of `size` bytes.
fn array(stream: &TcpStream, name: libc::c_int, size: usize) -> Option<Vec<Vec<u8>>> {
    let mut buffer = vec![0; ARRAY_HEADER + MAX_SUBFLOWS * size];
    buffer[..4].copy_from_slice(&u32::try_from(ARRAY_HEADER).ok()?.to_ne_bytes());
    buffer[12..16].copy_from_slice(&u32::try_from(size).ok()?.to_ne_bytes());
    let len = option(stream, SOL_MPTCP, name, &mut buffer)?;
    let elements = buffer.get(ARRAY_HEADER..len)?;
    Some(elements.chunks_exact(size).map(<[u8]>::to_vec).collect())
}

/// `getsockopt` into `buffer`; the length of what came back.
fn option(stream: &TcpStream, level: libc::c_int, name: libc::c_int, buffer: &mut [u8]) -> Option<usize> {
    let mut len = libc::socklen_t::try_from(buffer.len()).ok()?;
    // SAFETY: `buffer` is valid for writes of `len` bytes, the kernel writes no more than that and stores how
    // many it wrote in `len`; the descriptor is open for as long as `stream` is borrowed.
    let result = unsafe { libc::getsockopt(stream.as_raw_fd(), level, name, buffer.as_mut_ptr().cast(), &raw mut len) };
    (result == 0).then(|| buffer.len().min(usize::try_from(len).unwrap_or(0)))
}

fn sockaddr(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    let addr = match i32::from(family) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(4..8)?).ok()?)),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?)),
        _ => return None,
    };
    Some(canonical(SocketAddr::new(addr, port)))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(offset..offset + 8)?.try_into().ok()?))
}
