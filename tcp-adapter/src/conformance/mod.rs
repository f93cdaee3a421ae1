//! What every [`TcpStack`] must do, as tests that any implementation can run.
//!
//! A case connects two stacks of the same kind by a [`Wire`](wire::Wire) in virtual time, with chosen delay,
//! loss, reordering and duplication, and looks at both what the hooks are shown and what
//! is on the wire. [`tcp_conformance_tests!`](crate::tcp_conformance_tests) makes a test of each.

pub mod close;
pub mod handshake;
pub mod hook;
pub mod hostile;
pub mod interfaces;
pub mod neighbour;
pub mod options;
pub mod packet;
pub mod reset;
pub mod signals;
pub mod stress;
pub mod transfer;
pub mod window;
pub mod wire;

use crate::TcpStack;

/// Makes a stack without interfaces from a seed.
pub type Factory = fn(seed: u64) -> Box<dyn TcpStack>;

/// Makes a `#[test]` of every case, for the stacks that a [`Factory`](crate::conformance::Factory) makes.
#[macro_export]
macro_rules! tcp_conformance_tests {
    ($factory:expr) => {
        $crate::tcp_conformance_tests! { @cases $factory,
            close::both_ends_close,
            close::closing_survives_loss,
            close::half_closed_connection_carries_data,
            close::reset_after_the_end_is_a_normal_close,
            close::shutdown_waits_for_the_handshake,
            close::thousand_connections_in_turn_leave_nothing,
            close::unread_bytes_outlive_the_connection,
            handshake::backlog_bounds_handshakes,
            handshake::connect_refuses_what_cannot_work,
            handshake::connections_need_no_listener,
            handshake::dropped_syn_is_retransmitted,
            handshake::initial_sequence_numbers_are_hard_to_guess,
            handshake::lost_segments_are_retransmitted,
            handshake::opens_over_ipv4_and_ipv6,
            handshake::port_is_listened_on_once,
            handshake::refused_without_listener,
            handshake::simultaneous_open_makes_one_connection,
            handshake::unanswered_syn_times_out,
            hostile::answers_to_bare_segments_are_limited,
            hostile::arbitrary_frames_never_panic,
            hostile::bursts_beyond_a_gap_are_answered,
            hostile::forged_resets_are_challenged,
            hostile::late_segments_still_carry_bytes,
            hostile::mutilated_frames_never_panic,
            hostile::old_segments_in_time_wait_open_nothing,
            hostile::segments_outside_the_window_never_reach_the_hook,
            hostile::syn_in_an_open_connection_is_challenged,
            hostile::unacceptable_acknowledgements_never_reach_the_hook,
            hostile::wrong_checksums_never_reach_the_hook,
            interfaces::acknowledgements_survive_resolution,
            interfaces::addresses_can_be_exchanged,
            interfaces::connections_follow_the_routes,
            interfaces::connections_outlive_their_address,
            interfaces::connections_keep_to_their_interface,
            interfaces::connections_leave_by_the_interface_that_they_are_bound_to,
            interfaces::retransmissions_survive_resolution,
            interfaces::nothing_spins_without_a_way_to_the_peer,
            interfaces::windows_survive_resolution,
            options::arrive_as_pushed,
            options::chunks_stay_apart_when_segments_are_lost,
            options::largest_options_fit_the_mtu,
            options::segments_fit_the_smaller_mss,
            options::slices_of_a_chunk_share_segments,
            options::syn_leaves_room,
            reset::abort_carries_options,
            reset::stale_answer_to_a_syn_is_reset,
            reset::syn_verdict_carries_options,
            reset::verdict_carries_options,
            signals::ack_now_is_not_satisfied_by_data,
            signals::ack_now_sends_one_segment,
            signals::dropped_segments_are_retransmitted,
            signals::late_acknowledgements_are_no_duplicates,
            signals::what_is_sent_again_has_its_chunk,
            signals::probe_is_answered,
            signals::signals_are_no_duplicate_acknowledgements,
            stress::moving_windows_and_signals_over_a_bad_wire,
            transfer::both_directions_over_a_bad_wire,
            transfer::bulk_leaves_in_full_segments,
            transfer::both_directions_over_a_good_wire,
            transfer::every_second_segment_is_acknowledged,
            transfer::fast_retransmission_repairs_a_single_loss,
            transfer::info_tells_what_happened,
            transfer::limits_and_round_trip_are_those_of_info,
            transfer::send_buffer_is_bounded_and_room_is_announced,
            window::advertised_window_is_the_hooks,
            window::bytes_at_a_closed_window_are_answered,
            window::closed_window_opens_again,
            window::lost_window_update_is_recovered,
            window::own_window_follows_the_reader,
            window::window_that_moves_back_loses_nothing,
            window::windows_that_open_silently_are_probed,
        }
    };
    (@cases $factory:expr, $($module:ident::$case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::$module::$case($factory);
            }
        )*
    };
}
