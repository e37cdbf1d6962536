//! Tells the module which sources it is built from (`SOURCES`), so that Python never runs one that is of others.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use xxhash_rust::xxh3::Xxh3;

/// Beside `src`. The digest in `headgate.io.extproc.native` names the same.
const BESIDE: [&str; 3] = ["Cargo.lock", "Cargo.toml", "build.rs"];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut names = BESIDE.map(String::from).to_vec();
    list(&root, "src", &mut names)?;
    names.sort();
    let mut digest = Xxh3::new();
    for name in &names {
        let content = fs::read(root.join(name))?;
        digest.update(format!("{name} {}\n", content.len()).as_bytes());
        digest.update(&content);
    }
    println!("cargo::rerun-if-changed=.");
    println!("cargo::rustc-env=HEADGATE_SOURCES={:016x}", digest.digest());
    Ok(())
}

/// Adds the Rust files in *folder*, as paths from *root*.
fn list(root: &Path, folder: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(root, &name, names)?;
        } else if name.ends_with(".rs") {
            names.push(name);
        }
    }
    Ok(())
}
