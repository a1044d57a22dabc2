//! `docs`: the project's pages as a book, and their links.

mod links;
mod pages;
mod stage;

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::{
    setup::{self, Scope},
    workspace,
};

/// The verb.
pub fn main() -> Result<()> {
    let files = links::files()?;
    nothing_dead(&links::dead(&workspace::root(), &files)?)?;
    println!("{} Markdown files, no dead link", files.len());
    setup::ensure(&[Scope::Docs])?;
    let folder = workspace::target()?.join("docs");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    stage::write(&workspace::root(), &folder.join("src"))?;
    fs::copy(workspace::root().join("docs/book.toml"), folder.join("book.toml"))?;
    workspace::run(workspace::command(workspace::tools().join("bin/mdbook")).arg("build").arg(&folder))?;
    let (dead, links) = pages::dead(&folder.join("book"))?;
    nothing_dead(&dead)?;
    println!("{}: {links} links, none dead", folder.join("book/index.html").display());
    Ok(())
}

fn nothing_dead(dead: &[String]) -> Result<()> {
    ensure!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
    Ok(())
}
