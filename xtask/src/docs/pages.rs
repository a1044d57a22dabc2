//! The book as it was written: each link of its pages leads to a file of it, and to a place in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::links;

/// All links that lead nowhere, and how many there are in all.
pub fn dead(book: &Path) -> Result<(Vec<String>, usize)> {
    let mut pages = BTreeMap::new();
    read(book, Path::new(""), &mut pages)?;
    let ids: BTreeMap<_, BTreeSet<&str>> =
        pages.iter().map(|(path, text)| (path, values(text, " id=\"").collect())).collect();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (path, text) in &pages {
        let found = values(text, " href=\"").chain(values(text, " src=\""));
        for to in found.filter(|to| links::is_local(to) && !to.starts_with("data:")) {
            count += 1;
            let (target, anchor) = links::resolved(path, to);
            let there = target.is_some_and(|target| match (ids.get(&target), anchor) {
                (Some(ids), Some(anchor)) => ids.contains(anchor),
                _ => book.join(target).is_file(),
            });
            if !there {
                wrong.push(format!("{}: {to}", path.display()));
            }
        }
    }
    Ok((wrong, count))
}

fn read(book: &Path, folder: &Path, pages: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in fs::read_dir(book.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            read(book, &path, pages)?;
        } else if path.extension().is_some_and(|end| end == "html") && path != Path::new("404.html") {
            pages.insert(path, fs::read_to_string(entry.path())?);
        }
    }
    Ok(())
}

/// What stands in the quotes behind each `start`.
fn values<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split('"').next())
}
