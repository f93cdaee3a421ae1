//! How commands end.

use std::fmt;

/// The status of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// What happened.
    pub code: StatusCode,
    /// DNR: the same command would fail again, to any controller of the subsystem.
    pub do_not_retry: bool,
    /// CRD: 0, or which of the three delays of Identify Controller to wait before a retry.
    pub retry_delay: u8,
}

impl Status {
    /// The command succeeded.
    pub const SUCCESS: Self = Self { code: StatusCode::Success, do_not_retry: false, retry_delay: 0 };

    /// Whether the command succeeded.
    pub const fn is_success(&self) -> bool {
        matches!(self.code, StatusCode::Success)
    }

    /// From the status field of a completion; its phase bit has no meaning with Fabrics.
    pub const fn from_wire(field: u16) -> Self {
        Self {
            code: StatusCode::new((field >> 9) as u8 & 0b111, (field >> 1) as u8),
            do_not_retry: field >> 15 != 0,
            retry_delay: (field >> 12) as u8 & 0b11,
        }
    }

    /// The status field of a completion.
    pub const fn to_wire(self) -> u16 {
        let (sct, sc) = self.code.parts();
        (sc as u16) << 1 | (sct as u16) << 9 | (self.retry_delay as u16 & 0b11) << 12 | (self.do_not_retry as u16) << 15
    }
}

impl From<StatusCode> for Status {
    /// With DNR as it is usual for the code; see [`StatusCode::is_final`].
    fn from(code: StatusCode) -> Self {
        Self { code, do_not_retry: code.is_final(), retry_delay: 0 }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sct, sc) = self.code.parts();
        write!(f, "{} (SCT {sct:#x}, SC {sc:#04x}{})", self.code, if self.do_not_retry { ", DNR" } else { "" })
    }
}

/// Makes the enum, its codes, its sentences and whether a retry makes sense from one table.
macro_rules! status_codes {
    ($($name:ident = $sct:literal, $sc:literal, $finality:ident, $sentence:literal;)*) => {
        /// A status code with its type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum StatusCode {
            $(#[doc = concat!("SCT ", $sct, ", SC ", $sc, ": ", $sentence, ".")] $name,)*
            /// A status that is not in this list.
            Other {
                /// Status code type, 0 to 7.
                sct: u8,
                /// Status code.
                sc: u8,
            },
        }

        impl StatusCode {
            /// The status with this type (0 to 7) and code.
            pub const fn new(sct: u8, sc: u8) -> Self {
                match (sct, sc) {
                    $(($sct, $sc) => Self::$name,)*
                    _ => Self::Other { sct, sc },
                }
            }

            /// Status code type and status code.
            pub const fn parts(self) -> (u8, u8) {
                match self {
                    $(Self::$name => ($sct, $sc),)*
                    Self::Other { sct, sc } => (sct & 0b111, sc),
                }
            }

            /// Whether the same command would fail again, so that DNR is set unless there is reason not to.
            pub const fn is_final(self) -> bool {
                match self {
                    $(Self::$name => status_codes!(@$finality),)*
                    Self::Other { .. } => false,
                }
            }
        }

        impl fmt::Display for StatusCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $sentence,)*
                    Self::Other { sct, sc } => return write!(f, "unknown status {sc:#04x} of type {sct:#x}"),
                })
            }
        }

        #[cfg(test)]
        pub(super) const ALL: &[StatusCode] = &[$(StatusCode::$name,)*];
    };
    (@final) => { true };
    (@again) => { false };
}

status_codes! {
    Success = 0x0, 0x00, again, "the command succeeded";
    InvalidOpcode = 0x0, 0x01, final, "the controller does not know this command";
    InvalidField = 0x0, 0x02, final, "a field of the command has a value that it cannot have";
    CommandIdConflict = 0x0, 0x03, final, "a command with this identifier is already outstanding";
    DataTransferError = 0x0, 0x04, again, "the data could not be transferred";
    PowerLossAbort = 0x0, 0x05, again, "the command was aborted because power is failing";
    InternalError = 0x0, 0x06, again, "the controller failed internally";
    AbortedByRequest = 0x0, 0x07, again, "the command was aborted at the host's request";
    AbortedSqDeletion = 0x0, 0x08, again, "the command was aborted because its queue was deleted";
    AbortedFailedFuse = 0x0, 0x09, again, "the other half of the fused operation failed";
    AbortedMissingFuse = 0x0, 0x0a, final, "the other half of the fused operation is missing";
    InvalidNamespace = 0x0, 0x0b, final, "the namespace does not exist, or its format is not supported";
    CommandSequenceError = 0x0, 0x0c, final, "the command may not come at this point";
    InvalidSglSegment = 0x0, 0x0d, final, "an SGL segment descriptor is invalid";
    InvalidSglCount = 0x0, 0x0e, final, "there are too many SGL descriptors, or too few";
    InvalidDataSglLength = 0x0, 0x0f, final, "the SGL does not have the length of the data";
    InvalidMetadataSglLength = 0x0, 0x10, final, "the SGL does not have the length of the metadata";
    InvalidSglType = 0x0, 0x11, final, "the SGL descriptor has a type that is not supported";
    AtomicWriteUnitExceeded = 0x0, 0x14, final, "the command is for more than is written as one";
    InvalidSglOffset = 0x0, 0x16, final, "the offset in the SGL descriptor is invalid";
    HostIdInconsistent = 0x0, 0x18, final, "the host identifier has another length than the command is for";
    KeepAliveExpired = 0x0, 0x19, again, "the keep-alive timer ran out";
    KeepAliveInvalid = 0x0, 0x1a, final, "the keep-alive timeout is not possible";
    AbortedByPreempt = 0x0, 0x1b, final, "the command was aborted because its reservation was preempted";
    SanitizeFailed = 0x0, 0x1c, final, "the last sanitize operation failed";
    SanitizeInProgress = 0x0, 0x1d, again, "a sanitize operation is in progress";
    NamespaceWriteProtected = 0x0, 0x20, final, "the namespace is write protected";
    Interrupted = 0x0, 0x21, again, "the command was interrupted and may be sent again";
    TransientTransportError = 0x0, 0x22, again, "the transport damaged the data on its way";
    LbaOutOfRange = 0x0, 0x80, final, "the blocks lie beyond the end of the namespace";
    CapacityExceeded = 0x0, 0x81, final, "the namespace has no capacity left";
    NamespaceNotReady = 0x0, 0x82, again, "the namespace is not ready";
    ReservationConflict = 0x0, 0x83, final, "another host has reserved the namespace";
    FormatInProgress = 0x0, 0x84, again, "the namespace is being formatted";
    InvalidQueueId = 0x1, 0x01, final, "there is no such queue";
    InvalidQueueSize = 0x1, 0x02, final, "the queue cannot have this size";
    AbortLimitExceeded = 0x1, 0x03, again, "too many Abort commands are outstanding";
    AsyncEventLimitExceeded = 0x1, 0x05, final, "too many Asynchronous Event Requests are outstanding";
    InvalidLogPage = 0x1, 0x09, final, "there is no such log page";
    InvalidFormat = 0x1, 0x0a, final, "the format is not supported";
    FeatureNotSaveable = 0x1, 0x0d, final, "the feature cannot be saved";
    FeatureNotChangeable = 0x1, 0x0e, final, "the feature cannot be changed";
    FeatureNotNamespaceSpecific = 0x1, 0x0f, final, "the feature is not one of namespaces";
    CommandSetNotSupported = 0x1, 0x2b, final, "the combination of I/O command sets is not supported";
    ConnectIncompatibleFormat = 0x1, 0x80, final, "the record format of Connect is not supported";
    ControllerBusy = 0x1, 0x81, again, "the controller is busy, or none is free";
    ConnectInvalidParameters = 0x1, 0x82, final, "a parameter of Connect is invalid";
    ConnectRestartDiscovery = 0x1, 0x83, again, "the subsystem is elsewhere: discovery has to start again";
    ConnectInvalidHost = 0x1, 0x84, final, "the host is not allowed to connect to the subsystem";
    InvalidQueueType = 0x1, 0x85, final, "the command is for another type of queue";
    DiscoverRestart = 0x1, 0x90, again, "the discovery log changed while it was read";
    AuthenticationRequired = 0x1, 0x91, final, "the host has to authenticate first";
    WriteFault = 0x2, 0x80, again, "the data could not be written to the medium";
    UnrecoveredRead = 0x2, 0x81, again, "the data could not be read from the medium";
    GuardCheck = 0x2, 0x82, final, "the guard of the protection information is wrong";
    CompareFailure = 0x2, 0x85, final, "the data differs from what is stored";
    AccessDenied = 0x2, 0x86, final, "access to the namespace is denied";
    Deallocated = 0x2, 0x87, final, "the block is deallocated or was never written";
    InternalPathError = 0x3, 0x00, again, "the controller's path to the namespace failed";
    AnaPersistentLoss = 0x3, 0x01, final, "the namespace is lost to this controller for good";
    AnaInaccessible = 0x3, 0x02, again, "the namespace is not accessible through this controller";
    AnaTransition = 0x3, 0x03, again, "access to the namespace through this controller is changing";
    ControllerPathError = 0x3, 0x60, again, "the controller found its path to be broken";
    HostPathError = 0x3, 0x70, again, "the host found the path to be broken";
    AbortedByHost = 0x3, 0x71, again, "the host aborted the command";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_layout_says() {
        // SC in bits 8:1, SCT in 11:9, CRD in 13:12, DNR in 15.
        let status = Status::from_wire(0x82 << 1 | 1 << 9 | 2 << 12 | 1 << 15);
        assert_eq!(status, Status { code: StatusCode::ConnectInvalidParameters, do_not_retry: true, retry_delay: 2 });
        assert_eq!(Status::SUCCESS.to_wire(), 0);
        assert_eq!(Status::from(StatusCode::TransientTransportError).to_wire(), 0x22 << 1);
    }

    #[test]
    fn every_field_survives_a_round_trip() {
        for field in (0..=u16::MAX).filter(|field| field & (1 | 1 << 14) == 0) {
            assert_eq!(Status::from_wire(field).to_wire(), field);
        }
        for code in ALL {
            let (sct, sc) = code.parts();
            assert_eq!(StatusCode::new(sct, sc), *code);
        }
    }
}
