//! Lists the bundled integrations, so that adding a file to `integrations` is all there is to do;
//! those of `integrations/base` are what others extend. The bundled skills in `skills` and the commands
//! in `commands` likewise.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("integrations");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut list = String::new();
    let described = [
        ("BUNDLED", folder.clone(), "The bundled declarations"),
        ("BASES", folder.join("base"), "What declarations extend and that is no integration"),
    ];
    for (name, folder, what) in described {
        list.push_str(&listed(name, (&folder, ".toml"), what)?);
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("bundled.rs"), list)?;
    let others = [
        ("workflows.rs", "DOCUMENTS", ("skills", ".arazzo.yaml"), "The bundled documents"),
        ("commands.rs", "COMMANDS", ("commands", ".toml"), "The bundled commands"),
    ];
    for (file, name, (folder, end), what) in others {
        let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        fs::write(out.join(file), listed(name, (&folder, end), what)?)?;
    }
    Ok(())
}

/// A constant that holds every file of a folder whose name ends so.
fn listed(name: &str, (folder, end): (&Path, &str), what: &str) -> Result<String, std::io::Error> {
    let mut list = format!("/// {what}: file name and text.\n");
    list.push_str(&format!("const {name}: &[(&str, &str)] = &[\n"));
    for path in files(folder, end)? {
        let file = path.file_name().unwrap_or_default();
        list.push_str(&format!("    ({file:?}, include_str!({path:?})),\n"));
    }
    list.push_str("];\n");
    Ok(list)
}

/// The files of a folder whose name ends so.
fn files(folder: &Path, end: &str) -> Result<Vec<PathBuf>, std::io::Error> {
    let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files = files.collect::<Result<Vec<_>, std::io::Error>>()?;
    files.retain(|path| path.to_str().is_some_and(|path| path.ends_with(end)));
    files.sort();
    Ok(files)
}
