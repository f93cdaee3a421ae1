//! Coupled congestion control: the windows of a connection's subflows depend on each other, so that together they
//! take no more of a bottleneck than one TCP connection would (RFC 6356 section 2).
//!
//! A rule sits in a file of its own: [`lia`], [`olia`], [`balia`], [`wvegas`] and [`cubic`]. What subflows know of each other
//! is in the [`board`]; [`coupled`] is the part that the rules share, which is TCP's slow start, recovery and way back; [`bottleneck`]
//! finds out which subflows share a bottleneck.

mod balia;
mod board;
mod bottleneck;
mod coupled;
mod cubic;
mod lia;
mod olia;
mod samples;
mod wvegas;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tcp_adapter::congestion::{CongestionControl, Window};
use tcp_adapter::{Instant, TcpId, TcpInfo, TcpStack};

use self::balia::Balia;
use self::board::{Board, Member};
use self::bottleneck::Detector;
use self::coupled::Coupled;
use self::cubic::CoupledCubic;
use self::lia::Lia;
use self::olia::Olia;
use self::wvegas::Wvegas;

/// How the congestion windows of a connection's subflows depend on each other.
///
/// Each coupling replaces the congestion control of the TCP beneath. A connection with one subflow behaves as the TCP after
/// which the coupling is made: Reno, or CUBIC for the last two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Coupling {
    /// Not at all: each subflow has the congestion control of the TCP beneath. For paths that share nothing.
    #[default]
    Uncoupled,
    /// Linked increases (RFC 6356): as much as one TCP would get on the best path.
    Lia,
    /// Opportunistic linked increases (draft-khalili-mptcp-congestion-control): windows move to the best paths.
    Olia,
    /// Balanced linked adaptation (draft-walid-mptcp-congestion-control).
    Balia,
    /// Weighted Vegas (Cao, Xu, Fu, ICNP 2012; draft-xu-mptcp-congestion-control): as many packets in the queues of all paths as Vegas
    /// would have in that of one. Starves beside TCPs that fill queues.
    Wvegas,
    /// CUBIC whose growth is linked as that of RFC 6356: as much as one CUBIC would get on the best path.
    CoupledCubic,
    /// Coupled CUBIC among those subflows only that are found to share a bottleneck, in the spirit of RFC 8382; CUBIC for each
    /// other one. It takes some fifteen seconds of traffic to find out.
    Auto,
}

impl Coupling {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Uncoupled, Self::Lia, Self::Olia, Self::Balia, Self::Wvegas, Self::CoupledCubic, Self::Auto];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uncoupled => "uncoupled",
            Self::Lia => "lia",
            Self::Olia => "olia",
            Self::Balia => "balia",
            Self::Wvegas => "wvegas",
            Self::CoupledCubic => "coupled-cubic",
            Self::Auto => "auto",
        }
    }

    /// A congestion control that goes on from `window`.
    fn control(self, window: Window, member: Member) -> Option<Box<dyn CongestionControl>> {
        Some(match self {
            Self::Uncoupled => return None,
            Self::Lia => Box::new(Coupled::new(window, member, Lia)),
            Self::Olia => Box::new(Coupled::new(window, member, Olia::default())),
            Self::Balia => Box::new(Coupled::new(window, member, Balia)),
            Self::Wvegas => Box::new(Coupled::new(window, member, Wvegas::default())),
            Self::CoupledCubic | Self::Auto => Box::new(CoupledCubic::new(window, member)),
        })
    }
}

impl fmt::Display for Coupling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Coupling {
    type Err = UnknownCoupling;

    fn from_str(text: &str) -> Result<Self, UnknownCoupling> {
        Self::ALL.into_iter().find(|known| known.name() == text).ok_or_else(|| UnknownCoupling(text.to_owned()))
    }
}

/// Text that names no coupling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no coupling: uncoupled, lia, olia, balia, wvegas, coupled-cubic or auto")]
pub struct UnknownCoupling(String);

/// Why the coupling of a connection cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CouplingError {
    /// The handle names no live connection.
    #[error("the connection does not exist any more")]
    NoConnection,
    /// The TCP beneath has congestion controls of its own only.
    #[error("coupling {coupling} needs a TCP that takes a congestion control from above, which {tcp} does not")]
    Unsupported {
        /// What was wanted.
        coupling: Coupling,
        /// [`Capabilities::name`](tcp_adapter::Capabilities::name) of the TCP.
        tcp: &'static str,
    },
}

/// Whether a TCP can do it.
pub(crate) fn check(coupling: Coupling, tcp: &dyn TcpStack) -> Result<(), CouplingError> {
    let capabilities = tcp.capabilities();
    if coupling == Coupling::Uncoupled || capabilities.custom_congestion_control {
        Ok(())
    } else {
        Err(CouplingError::Unsupported { coupling, tcp: capabilities.name })
    }
}

/// The coupling of one connection.
#[derive(Debug)]
pub(crate) struct Coupler {
    coupling: Coupling,
    /// Made with the first subflow that is coupled: most connections are not.
    links: Option<Box<Links>>,
}

/// What subflows that are coupled have in common.
#[derive(Debug)]
struct Links {
    board: Arc<Board>,
    detector: Option<Detector>,
}

impl Coupler {
    pub(crate) fn new(coupling: Coupling) -> Self {
        Self { coupling, links: None }
    }

    pub(crate) fn coupling(&self) -> Coupling {
        self.coupling
    }

    /// Gives a subflow whose handshake is complete its congestion control; false if TCP does not take it.
    pub(crate) fn couple(&mut self, tcp: &mut dyn TcpStack, conn: TcpId) -> bool {
        if self.coupling == Coupling::Uncoupled {
            return true;
        }
        let Some(info) = tcp.info(conn) else { return false };
        let links = self.links.get_or_insert_with(|| {
            let detector = (self.coupling == Coupling::Auto).then(Detector::default);
            Box::new(Links { board: Arc::default(), detector })
        });
        let member = match &mut links.detector {
            // Whoever is not known to share a bottleneck is alone.
            Some(detector) => {
                let mut member = Board::join_alone(&links.board);
                member.sample(detector.watch(member.place()));
                member
            }
            None => Board::join(&links.board),
        };
        let control = self.coupling.control(window(&info), member);
        control.is_some_and(|control| tcp.set_congestion_control(conn, control).is_ok())
    }

    /// Looks again at who shares a bottleneck with whom, if it is time.
    pub(crate) fn regroup(&mut self, now: Instant) {
        if let Some(links) = &mut self.links
            && let Some(detector) = &mut links.detector
            && detector.is_due(now)
        {
            detector.observe(now, &links.board);
        }
    }
}

/// The window that a connection has now.
fn window(info: &TcpInfo) -> Window {
    let mss = info.mss as u64;
    match info.cwnd {
        Some(cwnd) => Window::resume(mss, cwnd, info.ssthresh),
        None => Window::new(mss),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_mistakes_name_the_choices() {
        for coupling in Coupling::ALL {
            assert_eq!(coupling.to_string().parse::<Coupling>(), Ok(coupling));
            let error = "fair".parse::<Coupling>().unwrap_err().to_string();
            assert!(error.starts_with("'fair' is no coupling: ") && error.contains(coupling.name()), "{error}");
        }
    }
}
