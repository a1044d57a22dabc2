//! The book's sources: the project's own pages as they lie in the work tree, with the files that they link to.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::links::{self, Link};

/// The list of chapters.
pub const SUMMARY: &str = "docs/SUMMARY.md";
/// Pages from these folders are chapters even where the list does not name them.
const FOLDERS: [&str; 2] = ["docs", "models"];

/// Writes the sources into a folder that is empty.
pub fn write(root: &Path, to: &Path) -> Result<()> {
    let summary = fs::read_to_string(root.join(SUMMARY))?;
    let named = links::page(&summary).links;
    let mut chapters = BTreeSet::new();
    for link in &named {
        chapters.extend(links::resolved(Path::new(SUMMARY), &link.to).0);
    }
    let mut list = rewritten(&summary, &named, |link| {
        links::resolved(Path::new(SUMMARY), &link.to).0.map(|target| in_book(&target))
    });
    list.push_str("\n# Further pages\n\n");
    for file in links::files()? {
        let of_book = FOLDERS.iter().any(|folder| file.starts_with(folder)) && file != Path::new(SUMMARY);
        if of_book && !chapters.contains(&file) {
            let title = links::page(&fs::read_to_string(root.join(&file))?).title;
            // Writing to a string does not fail.
            let _ = writeln!(list, "- [{title}]({})", in_book(&file));
            chapters.insert(file);
        }
    }
    put(&to.join("SUMMARY.md"), list.as_bytes())?;
    for chapter in &chapters {
        let text = fs::read_to_string(root.join(chapter)).with_context(|| chapter.display().to_string())?;
        let page = links::page(&text);
        for link in &page.links {
            if let (Some(file), true) = (links::resolved(chapter, &link.to).0, links::is_local(&link.to))
                && root.join(&file).is_file()
                && !chapters.contains(&file)
            {
                put(&to.join(&file), &fs::read(root.join(&file))?)?;
            }
        }
        let text = rewritten(&text, &page.links, |link| within(root, chapter, &link.to));
        put(&to.join(in_book(chapter)), text.as_bytes())?;
    }
    ensure!(chapters.contains(Path::new("README.md")), "{SUMMARY} does not name README.md");
    Ok(())
}

/// Where a link of a chapter leads in the book. None: it leads to a folder, which a book has not.
fn within(root: &Path, chapter: &Path, to: &str) -> Option<String> {
    let (target, _) = links::resolved(chapter, to);
    let folder = links::is_local(to) && target.as_ref().is_some_and(|target| root.join(target).is_dir());
    match folder {
        true => target
            .filter(|target| root.join(target).join("README.md").is_file())
            .map(|_| format!("{}/index.md", to.trim_end_matches('/'))),
        false => Some(to.replace("README.md", "index.md")),
    }
}

/// A chapter's name in the book: the first page of a folder is its index.
fn in_book(file: &Path) -> String {
    file.display().to_string().replace("README.md", "index.md")
}

/// The text with other targets in its links; a link without a target becomes its words.
fn rewritten(text: &str, found: &[Link], target: impl Fn(&Link) -> Option<String>) -> String {
    let mut out = String::new();
    let mut done = 0;
    for link in found {
        let written = &text[link.range.clone()];
        // Links in links (pictures that lead somewhere) and by reference stay as they are.
        let Some(at) = written.rfind("](").filter(|_| link.range.start >= done && written.ends_with(')'))
        else {
            continue;
        };
        out.push_str(&text[done..link.range.start]);
        match target(link) {
            Some(target) => _ = write!(out, "{}]({target})", &written[..at]),
            None => out.push_str(&written[1..at]),
        }
        done = link.range.end;
    }
    out.push_str(&text[done..]);
    out
}

fn put(path: &PathBuf, content: &[u8]) -> Result<()> {
    fs::create_dir_all(path.parent().context("no folder")?)?;
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_get_other_targets_and_lose_those_that_a_book_has_not() {
        let text = "see [the `x`](../README.md#x), [all](folder) and ![p](p.png)\n";
        let found = links::page(text).links;
        let target = |link: &Link| (link.to != "folder").then(|| link.to.replace("README", "index"));
        assert_eq!(rewritten(text, &found, target), "see [the `x`](../index.md#x), all and ![p](p.png)\n");
    }
}
