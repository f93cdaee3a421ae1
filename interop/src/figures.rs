//! What transfers have given.

use crate::error::{LabError, Result};

/// Megabits (10^6) of payload per second that arrived at the receiver, the server unless `reverse`, by what the client of `perf --json` says.
///
/// # Errors
/// It says something else.
pub fn megabits(said: &str, reverse: bool) -> Result<f64> {
    let unexpected = || LabError::Unexpected { what: "the figures of a client".to_owned(), found: said.to_owned() };
    let figures: serde_json::Value = serde_json::from_str(said).map_err(|_| unexpected())?;
    let receiver = &figures[if reverse { "client" } else { "server" }];
    let figure = |name: &str| receiver[name].as_f64().ok_or_else(unexpected);
    Ok(figure("received")? * 8.0 / 1e6 / figure("receive_seconds")?)
}

/// The middle one of several figures, the upper one of two.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_receiver() {
        let said = r#"{"client": {"received": 250000, "receive_seconds": 1}, "server": {"received": 5e6, "receive_seconds": 2.0}}"#;
        assert_eq!(megabits(said, false).unwrap(), 20.0);
        assert_eq!(megabits(said, true).unwrap(), 2.0);
        assert!(megabits("{}", true).is_err());
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![3.0, 1.0]), 3.0);
    }
}
