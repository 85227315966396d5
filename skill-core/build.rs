//! Lists the bundled integrations, so that adding a file to `integrations` is all there is to do;
//! those of `integrations/base` are what others extend. Commands likewise.

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
        list.push_str(&listed(name, &folder, what)?);
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("bundled.rs"), list)?;
    let commands = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("commands");
    println!("cargo::rerun-if-changed={}", commands.display());
    let list = listed("COMMANDS", &commands, "The bundled commands")?;
    fs::write(out.join("commands.rs"), list)?;
    Ok(())
}

/// A constant that holds every declaration of a folder.
fn listed(name: &str, folder: &Path, what: &str) -> Result<String, std::io::Error> {
    let mut list = format!("/// {what}: file name and text.\n");
    list.push_str(&format!("const {name}: &[(&str, &str)] = &[\n"));
    for path in declarations(folder)? {
        let file = path.file_name().unwrap_or_default();
        list.push_str(&format!("    ({file:?}, include_str!({path:?})),\n"));
    }
    list.push_str("];\n");
    Ok(list)
}

fn declarations(folder: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files = files.collect::<Result<Vec<_>, std::io::Error>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    Ok(files)
}
