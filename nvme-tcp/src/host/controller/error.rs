//! Why controllers end.

use crate::command::Status;
use crate::host::QueueError;

/// Why there is no controller any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControllerError {
    /// The admin queue has ended.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A command failed that is needed.
    #[error("{what} failed: {status}")]
    Command {
        /// Which.
        what: &'static str,
        /// How.
        status: Status,
    },
    /// CSTS.RDY did not come within CAP.TO.
    #[error("the controller did not become ready in time")]
    NotReady,
    /// CSTS.CFS.
    #[error("the controller has failed and says that only a reset can help")]
    Fatal,
    /// Identify says something that this host cannot work with.
    #[error(transparent)]
    Defect(#[from] Defect),
    /// A Keep Alive was not answered within KATO.
    #[error("the controller did not answer a Keep Alive in time")]
    KeepAliveTimeout,
    /// An ANA group is in the change state for longer than ANATT.
    #[error("access to a namespace is changing for longer than the controller said it would")]
    AnaTransition,
    /// The discovery log changed each time that it was read.
    #[error("the discovery log kept changing while it was read")]
    DiscoveryUnstable,
    /// The controller did not complete a shutdown.
    #[error("the controller did not complete its shutdown in time")]
    ShutdownTimeout,
}

impl ControllerError {
    /// Whether connecting again would end alike.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Queue(error) => error.is_final(),
            Self::Command { status, .. } => status.do_not_retry,
            Self::Defect(_) => true,
            _ => false,
        }
    }
}

/// What in Identify Controller makes a controller unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// CNTLID is not the one of Connect.
    #[error("the controller is {identify} according to Identify, but {connect} according to Connect")]
    ControllerId {
        /// In Identify.
        identify: u16,
        /// In the response to Connect.
        connect: u16,
    },
    /// KAS is 0, though keep-alive is mandatory with Fabrics.
    #[error("the controller has no keep-alive, which is mandatory")]
    NoKeepAlive,
    /// IOCCSZ does not even have room for a command.
    #[error("capsules of {0} bytes have no room for a command")]
    CommandCapsule(u64),
    /// IORCSZ has no room for a completion.
    #[error("capsules without any byte have no room for a completion")]
    ResponseCapsule,
    /// ICDOFF is not 0.
    #[error("in-capsule data at offset {0} is not supported")]
    InCapsuleOffset(u32),
    /// SGLS says that there are none.
    #[error("the controller does not support SGLs, which are mandatory")]
    NoSgls,
    /// ANA is reported, and MNAN is 0 or more than NN.
    #[error("the controller says that there may be {mnan} namespaces, of identifiers up to {nn}")]
    NamespaceCount {
        /// MNAN.
        mnan: u32,
        /// NN.
        nn: u32,
    },
    /// CNTRLTYPE says something else than what was connected to.
    #[error("the controller is of type {0}, which is not what was asked for")]
    ControllerType(u8),
    /// The list of namespaces is not in order, so it might have no end.
    #[error("the list of namespaces is not in order")]
    NamespaceOrder,
}
