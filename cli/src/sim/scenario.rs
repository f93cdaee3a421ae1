//! Which scenario is meant, and what is different in it.

use std::path::Path;

use clap::Args;
use mptcp_sim::scenario::Scenario;

use crate::failure::Failure;

/// A scenario and changes to it.
#[derive(Args, Debug)]
pub(super) struct ScenarioArgs {
    /// File of the scenario, or name of one that comes with the program
    #[arg(value_name = "FILE|NAME")]
    scenario: String,
    /// Set a value at all points, such as links.wifi.delay=20ms, also where the scenario has a sweep of it; a list or a range makes a sweep
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    settings: Vec<(String, String)>,
}

impl ScenarioArgs {
    /// Reads the scenario and changes it, in the order of the command line.
    pub(super) fn open(&self) -> Result<Scenario, Failure> {
        let mistake = |error: mptcp_sim::scenario::ScenarioError| Failure::Usage(error.to_string());
        let mut scenario = Scenario::open(&self.scenario).map_err(mistake)?;
        let settings = self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        scenario.set_all(settings).map_err(mistake)?;
        Ok(scenario)
    }

    /// What is set on the command line.
    pub(super) fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// The scenario as it is named where it does not matter in which folder of which machine it is.
    pub(super) fn portable_name(&self) -> String {
        let path = Path::new(&self.scenario);
        let file = path.file_name().filter(|_| path.is_absolute());
        file.map_or_else(|| self.scenario.clone(), |file| file.to_string_lossy().into_owned())
    }

    /// The name of the file without its ending.
    pub(super) fn stem(&self) -> String {
        let stem = Path::new(&self.scenario).file_stem();
        stem.map_or_else(|| "scenario".to_owned(), |stem| stem.to_string_lossy().into_owned())
    }
}

/// Reads `KEY=VALUE`.
pub(super) fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("'{text}' is not KEY=VALUE, such as links.wifi.delay=20ms")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_key_and_a_value() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(parse_setting("links.p1.delay=20ms"), pair("links.p1.delay", "20ms"));
        assert_eq!(parse_setting("run.loss = { p = \"1%\" }"), pair("run.loss", "{ p = \"1%\" }"));
        assert_eq!(parse_setting("x="), pair("x", ""));
        assert!(parse_setting("delay").is_err() && parse_setting("=1").is_err());
    }
}
