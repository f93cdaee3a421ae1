//! nvme-tcp.
