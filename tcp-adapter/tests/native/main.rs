//! The behaviour of the native engine towards a scripted peer, by the RFCs. The language of the scripts is
//! that of `tcp_adapter::script`.

mod settings;

/// Makes a test of a script.
macro_rules! script {
    ($name:ident, $text:literal) => {
        #[test]
        fn $name() {
            if let Err(error) = tcp_adapter::script::run($text, file!(), line!(), &crate::settings::stack) {
                panic!("{error}");
            }
        }
    };
}

mod acknowledgements;
mod challenges;
mod close;
mod congestion;
mod cookies;
mod ecn;
mod fast_open;
mod handshake;
mod hostile;
mod keep_alive;
mod offload;
mod options;
mod path_mtu;
mod rack;
mod receive;
mod reset;
mod rto;
mod sack;
mod spurious;
mod time_wait;
mod timestamps;
mod window;
