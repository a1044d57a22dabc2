//! Links of the project's Markdown files: each leads to a file that is there, and to a heading in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::workspace;

/// One file, read.
#[derive(Debug, Default)]
pub struct Page {
    /// Its first heading.
    pub title: String,
    /// What its headings are called in links.
    anchors: BTreeSet<String>,
    /// Where its links lead, images included, and where they stand.
    pub links: Vec<Link>,
}

/// One link.
#[derive(Debug)]
pub struct Link {
    /// As it is written.
    pub to: String,
    /// The bytes of the text that are the link.
    pub range: std::ops::Range<usize>,
}

/// The Markdown files that the project has, from its root.
pub fn files() -> Result<Vec<PathBuf>> {
    let listed = workspace::output(workspace::command("git").args(["ls-files", "-z", "*.md"]))?;
    // One that was deleted and not yet committed is in git's list, and has no links any more.
    let there = |path: &PathBuf| workspace::root().join(path).is_file();
    Ok(listed.split_terminator('\0').map(PathBuf::from).filter(there).collect())
}

/// All that is wrong with the links of the files: a line each.
pub fn dead(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(root.join(file)).with_context(|| file.display().to_string())?;
        pages.insert(file.clone(), (page(&text), text));
    }
    let mut wrong = Vec::new();
    for (file, (page, text)) in &pages {
        for link in page.links.iter().filter(|link| is_local(&link.to)) {
            let (target, anchor) = resolved(file, &link.to);
            let found = match (&target, anchor) {
                (Some(target), _) if !root.join(target).exists() => Err("no such file"),
                (Some(target), Some(anchor)) => match pages.get(target) {
                    Some((page, _)) if page.anchors.contains(anchor) => Ok(()),
                    _ => Err("no such heading"),
                },
                (Some(_), None) => Ok(()),
                (None, _) => Err("leads out of the project"),
            };
            if let Err(what) = found {
                let line = text[..link.range.start].matches('\n').count() + 1;
                wrong.push(format!("{}:{line}: {}: {what}", file.display(), link.to));
            }
        }
    }
    Ok(wrong)
}

/// Whether it leads to another file or heading of the project; what the network has is not asked for.
pub fn is_local(to: &str) -> bool {
    !to.contains("://") && !to.starts_with("mailto:")
}

/// The file, from the root, and the heading that a link of `file` leads to. No file: one above the root.
pub fn resolved<'a>(file: &Path, to: &'a str) -> (Option<PathBuf>, Option<&'a str>) {
    let (path, anchor) = match to.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (to, None),
    };
    if path.is_empty() {
        return (Some(file.to_path_buf()), anchor);
    }
    let mut target = file.parent().map(Path::to_path_buf).unwrap_or_default();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => target.push(name),
            Component::ParentDir if target.pop() => {}
            Component::CurDir => {}
            _ => return (None, anchor),
        }
    }
    (Some(target), anchor)
}

/// Reads one.
pub fn page(text: &str) -> Page {
    let mut page = Page::default();
    let mut heading: Option<String> = None;
    let mut times = BTreeMap::<String, usize>::new();
    let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let text = heading.take().unwrap_or_default();
                let name = anchor(&text);
                let before = times.entry(name.clone()).or_default();
                page.anchors.insert(if *before == 0 { name } else { format!("{name}-{before}") });
                *before += 1;
                if page.title.is_empty() {
                    page.title = text;
                }
            }
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(Link { to: dest_url.into_string(), range });
            }
            _ => {}
        }
    }
    page
}

/// What a heading is called in links: as code hosts and mdBook do it.
fn anchor(heading: &str) -> String {
    let kept = |letter: char| match letter {
        letter if letter.is_alphanumeric() || matches!(letter, '-' | '_') => Some(letter),
        letter if letter.is_whitespace() => Some('-'),
        _ => None,
    };
    heading.to_lowercase().chars().filter_map(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_of_the_documents_is_dead() -> Result<()> {
        let files = files()?;
        assert!(files.contains(&PathBuf::from("README.md")), "{files:?}");
        assert_eq!(dead(&workspace::root(), &files)?, Vec::<String>::new());
        Ok(())
    }

    #[test]
    fn dead_links_are_found_with_their_lines() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("docs"))?;
        let one = "# One\n[up](../README.md#a-b_c-1) [gone](two.md)\n[no](../README.md#x) [out](../../x)\n";
        fs::write(folder.path().join("docs/one.md"), one)?;
        fs::write(folder.path().join("README.md"), "# A: `b_c`\n## A b_c\n[web](https://example.net/no)\n")?;
        let files = ["docs/one.md", "README.md"].map(PathBuf::from);
        let expected = [
            "docs/one.md:2: two.md: no such file",
            "docs/one.md:3: ../README.md#x: no such heading",
            "docs/one.md:3: ../../x: leads out of the project",
        ];
        assert_eq!(dead(folder.path(), &files)?, expected);
        Ok(())
    }
}
