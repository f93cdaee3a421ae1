//! Source packages by way of the machine's own package manager.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{IoContext, LabError, Result};
use crate::tools;

/// Downloads a package into `dir` and returns the file.
///
/// Asks the sources of the machine first. Where they do not have it, asks their mirror again for the release
/// and its backports, with a configuration and lists inside `dir`: the machine's own are left as they are, and root is not
/// needed.
///
/// # Errors
/// No source has the package, or none can be reached.
pub(super) fn download(package: &str, dir: &Path) -> Result<PathBuf> {
    let fetch = |config: Option<&Path>| {
        let mut command = Command::new("apt-get");
        command.args(["download", "-qq", package]).current_dir(dir);
        if let Some(config) = config {
            command.env("APT_CONFIG", config);
        }
        tools::run(&mut command)
    };
    if fetch(None).is_err() {
        let config = scratch_config(&dir.join("apt"))?;
        tools::run(Command::new("apt-get").args(["update", "-qq"]).env("APT_CONFIG", &config))?;
        fetch(Some(&config))?;
    }
    let files = fs::read_dir(dir).context(|| format!("reading {}", dir.display()))?;
    let mut packages =
        files.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "deb"));
    packages.next().ok_or_else(|| LabError::Unexpected {
        what: "apt-get download".to_owned(),
        found: format!("success, but no package {package} in {}", dir.display()),
    })
}

/// Writes a package manager configuration that knows the machine's mirror with the release and its backports.
fn scratch_config(dir: &Path) -> Result<PathBuf> {
    for sub in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(dir.join(sub)).context(|| format!("creating {}", dir.display()))?;
    }
    let release = tools::read(Path::new("/etc/os-release"))?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let Some((codename, mirror)) = codename.and_then(|name| Some((name, Mirror::of_this_machine(name)?))) else {
        return Err(LabError::Unexpected {
            what: "the package sources of this machine".to_owned(),
            found: "no mirror of the release in /etc/apt, or no VERSION_CODENAME in /etc/os-release".to_owned(),
        });
    };
    let sources = dir.join("lab.sources");
    let text = format!(
        "Types: deb\nURIs: {}\nSuites: {codename} {codename}-backports\nComponents: main\nSigned-By: {}\n",
        mirror.uri, mirror.signed_by
    );
    fs::write(&sources, text).context(|| format!("writing {}", sources.display()))?;
    let config = dir.join("lab.conf");
    let dir = dir.display();
    let text = format!(
        "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"-\";\nDir::State::lists \"{dir}/lists\";\nDir::Cache \"{dir}/cache\";\n",
        sources.display()
    );
    fs::write(&config, text).context(|| format!("writing {}", config.display()))?;
    Ok(config)
}

/// Where the machine gets its packages.
#[derive(Debug, PartialEq, Eq)]
struct Mirror {
    uri: String,
    signed_by: String,
}

impl Mirror {
    fn of_this_machine(codename: &str) -> Option<Self> {
        let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
        let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
        files.extend(parts.filter(|path| path.extension().is_some_and(|e| e == "list" || e == "sources")));
        files.sort();
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).find_map(|text| Self::parse(&text, codename))
    }

    /// The first archive of the release itself in a source list of either format; archives of
    /// security updates have suites with other names.
    fn parse(text: &str, codename: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
        let stanzas = lines.split(|line| line.is_empty()).filter_map(|stanza| Self::of_stanza(stanza, codename));
        let one_line = lines.iter().filter_map(|line| Self::of_line(line, codename));
        stanzas.chain(one_line).next()
    }

    fn of_stanza(stanza: &[&str], codename: &str) -> Option<Self> {
        let field = |name: &str| stanza.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let has_release = field("Suites:")?.split_whitespace().any(|suite| suite == codename);
        let uri = field("URIs:")?.split_whitespace().next()?;
        has_release.then(|| Self::new(uri, field("Signed-By:")))
    }

    /// `deb [option=value ...] URI SUITE COMPONENT...`
    fn of_line(line: &str, codename: &str) -> Option<Self> {
        let entry = line.strip_prefix("deb ")?.trim_start();
        let (options, entry) = match entry.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", entry),
        };
        let mut words = entry.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        (suite == codename).then(|| Self::new(uri, signed_by))
    }

    fn new(uri: &str, signed_by: Option<&str>) -> Self {
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        Self { uri: uri.to_owned(), signed_by: signed_by.unwrap_or(keyring).to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_found_in_both_formats() {
        let stanzas = "Types: deb\n# URIs: http://old.example/\nURIs: http://sec.example/\nSuites: x-security\n\n\
                       URIs: http://m.example/debian/\nSuites: x x-updates\nSigned-By: /k.gpg\n";
        let mirror = Mirror::parse(stanzas, "x").unwrap();
        assert_eq!(mirror, Mirror::new("http://m.example/debian/", Some("/k.gpg")));

        let lines = "deb-src http://s.example/ x main\ndeb http://t.example/ x-security main\n\
                     deb [arch=amd64 signed-by=/l.gpg] http://m.example/debian x main\n";
        let mirror = Mirror::parse(lines, "x").unwrap();
        assert_eq!(mirror, Mirror::new("http://m.example/debian", Some("/l.gpg")));
        assert_eq!(Mirror::parse(lines, "y"), None);
    }
}
