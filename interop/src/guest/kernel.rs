//! The guests' kernel: User-Mode Linux, built from the source package of the distribution and cached.
//!
//! The kernels that distributions build as User-Mode Linux have no Multipath TCP, so this builds one: about ten minutes of one
//! core, once per machine and per content of `guest/uml.config`.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::Signal;
use sha2::{Digest, Sha256};

use super::apt;
use crate::error::{IoContext, LabError, Result};
use crate::payload::hex;
use crate::process::end_with_us;
use crate::tools;

/// Names a kernel to use in place of the one that is built and cached here.
pub const KERNEL_VARIABLE: &str = "MPTCP_GUEST_KERNEL";

/// The source package: the newest long-term kernel that the stable distribution carries.
const SOURCE_PACKAGE: &str = "linux-source-6.12";

const CONFIG: &str = include_str!("../../guest/uml.config");

/// Where Linux 6.12 says how many bytes of extended register state a guest saves, and what it says there. Processors with
/// tile registers (AMX) have 11008 bytes; on a host with such a processor a guest that saves less cannot even start its first process.
/// Later kernels ask the host for the size.
const REGISTER_STATE: (&str, &str) = ("arch/x86/um/user-offsets.c", "DEFINE_LONGS(HOST_FP_SIZE, 2696)");

/// What the guest's kernel says in place of [`REGISTER_STATE`]: AMX, and room for a next extension. `CONFIG_KERNEL_STACK_ORDER`
/// makes room for it on the stacks.
const LARGER_REGISTER_STATE: &str = "DEFINE_LONGS(HOST_FP_SIZE, 12288)";

/// The guests' kernel; builds it where it is not there yet.
///
/// # Errors
/// `MPTCP_GUEST_KERNEL` names a file that is not there, or the build fails.
pub fn kernel() -> Result<PathBuf> {
    if let Some(path) = env::var_os(KERNEL_VARIABLE).map(PathBuf::from) {
        return fs::canonicalize(&path).context(|| format!("the kernel {} of {KERNEL_VARIABLE}", path.display()));
    }
    let cache = cache_dir()?;
    let kernel = cache.join(file_name());
    if kernel.exists() {
        return Ok(kernel);
    }
    fs::create_dir_all(&cache).context(|| format!("creating {}", cache.display()))?;
    // Several tests, and the build that `cargo xtask ci` starts, may want the same kernel at once.
    let lock = File::create(cache.join("build.lock")).context(|| format!("locking {}", cache.display()))?;
    lock.lock().context(|| format!("locking {}", cache.display()))?;
    if !kernel.exists() {
        let build = Build { dir: cache.join("build"), log: cache.join("build.log") };
        build.run(&kernel)?;
    }
    Ok(kernel)
}

/// Whether [`kernel`] has one without building it.
///
/// # Errors
/// There is no home directory to cache it in.
pub fn is_built() -> Result<bool> {
    Ok(env::var_os(KERNEL_VARIABLE).is_some() || cache_dir()?.join(file_name()).exists())
}

fn cache_dir() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("mptcp")).ok_or_else(|| LabError::Unexpected {
        what: "the environment".to_owned(),
        found: "neither XDG_CACHE_HOME nor HOME is set".to_owned(),
    })
}

fn file_name() -> String {
    let hash = hex(&Sha256::new().chain_update(CONFIG).chain_update(LARGER_REGISTER_STATE).finalize());
    format!("{SOURCE_PACKAGE}-{}.uml", &hash[..12])
}

/// A build in progress.
struct Build {
    /// Scratch directory: source and objects, 1.5 GB, removed in the end.
    dir: PathBuf,
    log: PathBuf,
}

impl Build {
    fn run(&self, kernel: &Path) -> Result<()> {
        let needed = ["apt-get", "dpkg-deb", "tar", "xz", "make", "gcc", "ld", "strip", "flex", "bison", "bc", "nice"];
        tools::require(&needed)?;
        // Left over from a build that was interrupted.
        let _ = fs::remove_dir_all(&self.dir);
        let [download, source, objects] = ["download", "source", "objects"].map(|name| self.dir.join(name));
        for dir in [&download, &source, &objects] {
            fs::create_dir_all(dir).context(|| format!("creating {}", dir.display()))?;
        }
        File::create(&self.log).context(|| format!("creating {}", self.log.display()))?;

        let package = apt::download(SOURCE_PACKAGE, &download)?;
        self.step("unpacking the package", Command::new("dpkg-deb").arg("-x").arg(&package).arg(&download))?;
        let archive = download.join(format!("usr/src/{SOURCE_PACKAGE}.tar.xz"));
        self.step("unpacking the source", Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(&source))?;
        let source = source.join(SOURCE_PACKAGE);
        self.enlarge_register_state(&source)?;
        self.configure(&source, &objects)?;
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        self.step("compiling", make(&source, &objects).arg(format!("-j{jobs}")).arg("linux"))?;

        // Other processes look for the file without the lock, so it appears complete or not at all.
        let stripped = self.dir.join("linux.stripped");
        self.step("stripping", Command::new("strip").arg("-o").arg(&stripped).arg(objects.join("linux")))?;
        fs::rename(&stripped, kernel).context(|| format!("creating {}", kernel.display()))?;
        fs::remove_dir_all(&self.dir).context(|| format!("removing {}", self.dir.display()))
    }

    /// Makes the configuration and checks that it has everything that was asked for, since an option whose
    /// dependencies are missing disappears without a word.
    fn configure(&self, source: &Path, objects: &Path) -> Result<()> {
        let wanted = self.dir.join("uml.config");
        fs::write(&wanted, CONFIG).context(|| format!("writing {}", wanted.display()))?;
        let mut preset = std::ffi::OsString::from("KCONFIG_ALLCONFIG=");
        preset.push(&wanted);
        self.step("configuring", make(source, objects).arg(preset).arg("allnoconfig"))?;
        let made = tools::read(&objects.join(".config"))?;
        let missing: Vec<&str> =
            CONFIG.lines().filter(|line| line.ends_with("=y") && !made.lines().any(|other| other == *line)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(self.failed(format!("this kernel does not have {}", missing.join(", "))))
    }

    /// Changes [`REGISTER_STATE`], which must be there: a kernel without the change starts no process on some hosts.
    fn enlarge_register_state(&self, source: &Path) -> Result<()> {
        let (file, text) = (source.join(REGISTER_STATE.0), REGISTER_STATE.1);
        let found = tools::read(&file)?;
        if !found.contains(text) {
            return Err(self.failed(format!("{} does not say {text}", file.display())));
        }
        let larger = found.replace(text, LARGER_REGISTER_STATE);
        fs::write(&file, larger).context(|| format!("writing {}", file.display()))
    }

    fn step(&self, what: &str, command: &mut Command) -> Result<()> {
        let open =
            || File::options().append(true).open(&self.log).context(|| format!("opening {}", self.log.display()));
        // A `make` that is told to end has its own children end, too.
        end_with_us(command, Signal::TERM);
        let status = command.stdin(Stdio::null()).stdout(open()?).stderr(open()?).status();
        let status = status.context(|| tools::line(command))?;
        if status.success() { Ok(()) } else { Err(self.failed(format!("{what} failed"))) }
    }

    fn failed(&self, why: String) -> LabError {
        LabError::KernelBuild { why, log: self.log.clone() }
    }
}

/// `make` for User-Mode Linux at low priority: it may run beside tests.
fn make(source: &Path, objects: &Path) -> Command {
    let mut output = std::ffi::OsString::from("O=");
    output.push(objects);
    let mut command = Command::new("nice");
    command.arg("make").arg("-C").arg(source).arg("ARCH=um").arg(output);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cached_name_follows_the_configuration() {
        let name = file_name();
        assert!(name.starts_with("linux-source-6.12-") && name.ends_with(".uml"), "{name}");
        assert!(CONFIG.contains("CONFIG_MPTCP=y") && CONFIG.contains("CONFIG_NET_SCH_NETEM=y"));
    }
}
