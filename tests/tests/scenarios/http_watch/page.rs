//! Reads a page of metrics, strictly: what OpenMetrics 1.0 does not allow is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use lamphouse_tests::strict;

/// The labels of a sample, by name.
pub(super) type Labels = BTreeMap<String, String>;

/// A family of samples.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    unit: Option<String>,
    help: Option<String>,
}

/// A whole page.
#[derive(Debug, Default)]
pub(super) struct Page {
    families: BTreeMap<String, Family>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Page {
    /// The value of the one sample of this name with exactly these labels.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels
            .iter()
            .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
        self.samples.get(&(name.to_owned(), labels.collect())).copied()
    }

    /// All samples of this name that have these labels among others, added up.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |found: &Labels| {
            labels
                .iter()
                .all(|(label, value)| found.get(*label).is_some_and(|found| found == value))
        };
        let of_name = self.samples.iter().filter(|((found, _), _)| found == name);
        of_name
            .filter(|((_, found), _)| fits(found))
            .map(|(_, value)| value)
            .sum()
    }

    /// The values that a label has in the samples of this name.
    pub(super) fn labels(&self, name: &str, label: &str) -> BTreeSet<String> {
        let of_name = self.samples.keys().filter(|(found, _)| found == name);
        of_name
            .filter_map(|(_, labels)| labels.get(label).cloned())
            .collect()
    }

    /// Whether there is a sample of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.samples.keys().any(|(found, _)| found == name)
    }

    /// Every name of a sample.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.samples.keys().map(|(name, _)| name.as_str()).collect()
    }

    /// Whether a sample may only rise.
    fn is_count(&self, name: &str) -> bool {
        let kind = |family: &str| self.families.get(family).map(|family| family.kind.as_str());
        ["_total", "_bucket", "_count", "_sum"].iter().any(|suffix| {
            name.strip_suffix(suffix)
                .is_some_and(|family| matches!(kind(family), Some("counter" | "histogram")))
        })
    }
}

/// Reads a page.
pub(super) fn read(text: &str) -> Result<Page, String> {
    let text = text
        .strip_suffix("# EOF\n")
        .ok_or("the page does not end with '# EOF'")?;
    let mut page = Page::default();
    let mut current: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        let wrong = |why: &str| format!("line {}: {why}: {line}", number + 1);
        if let Some(about) = line.strip_prefix("# ") {
            let mut words = about.splitn(3, ' ');
            let (word, name, rest) = (words.next(), words.next(), words.next());
            let (Some(word), Some(name), Some(rest)) = (word, name, rest) else {
                return Err(wrong("no HELP, TYPE or UNIT"));
            };
            if current.as_deref() != Some(name) {
                if page.families.contains_key(name) {
                    return Err(wrong("a family comes twice, or is torn apart"));
                }
                page.families.insert(name.to_owned(), Family::default());
                current = Some(name.to_owned());
            }
            let family = page.families.get_mut(name).ok_or("a family")?;
            match word {
                "HELP" if family.help.is_none() => family.help = Some(rest.to_owned()),
                "TYPE" if family.kind.is_empty() => family.kind = rest.to_owned(),
                "UNIT" if family.unit.is_none() && name.ends_with(&format!("_{rest}")) => {
                    family.unit = Some(rest.to_owned());
                }
                _ => {
                    return Err(wrong(
                        "twice, or no word of the format, or a unit that is not in the name",
                    ));
                }
            }
            continue;
        }
        let (name, labels, value) = sample(line).map_err(|why| wrong(&why))?;
        let family = current
            .clone()
            .ok_or_else(|| wrong("a sample before any family"))?;
        let kind = page.families[&family].kind.as_str();
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => return Err(wrong("its family has no type that is used here")),
        };
        if !suffixes.iter().any(|suffix| name == format!("{family}{suffix}")) {
            return Err(wrong("it is not of the family above"));
        }
        if kind != "gauge" && (value < 0.0 || value.is_nan()) {
            return Err(wrong("a count below nothing"));
        }
        if page.samples.insert((name, labels), value).is_some() {
            return Err(wrong("the same sample twice"));
        }
    }
    for (name, family) in &page.families {
        if family.help.as_deref().is_none_or(str::is_empty) || family.kind.is_empty() {
            return Err(format!("{name} has no help or no type"));
        }
        if family.kind == "histogram" {
            is_histogram(&page, name)?;
        }
    }
    Ok(page)
}

/// `name{label="value"} 1.5`.
fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let is_name = |text: &str| {
        let mut chars = text.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name) {
        return Err("no name".to_owned());
    }
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, tail) = rest.split_once("=\"").ok_or("a label without a value")?;
            if !is_name(label) {
                return Err(format!("'{label}' is no label"));
            }
            let mut value = String::new();
            let mut chars = tail.char_indices();
            let after = loop {
                match chars.next().ok_or("a value without an end")? {
                    (at, '"') => break at + 1,
                    (_, '\\') => match chars.next() {
                        Some((_, 'n')) => value.push('\n'),
                        Some((_, c @ ('"' | '\\'))) => value.push(c),
                        _ => return Err("a wrong escape".to_owned()),
                    },
                    (_, c) => value.push(c),
                }
            };
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("the label '{label}' twice"));
            }
            rest = &tail[after..];
            match rest.chars().next() {
                Some(',') => rest = &rest[1..],
                Some('}') => {
                    rest = &rest[1..];
                    break;
                }
                _ => return Err("labels without an end".to_owned()),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no value")?;
    let number = value.parse().map_err(|_| format!("'{value}' is no number"))?;
    Ok((name.to_owned(), labels, number))
}

/// Buckets rise with their bounds, the last is infinite and is the count.
fn is_histogram(page: &Page, family: &str) -> Result<(), String> {
    let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for ((name, labels), value) in &page.samples {
        if *name == format!("{family}_bucket") {
            let mut labels = labels.clone();
            let bound = labels
                .remove("le")
                .ok_or_else(|| format!("{family}: a bucket without le"))?;
            let bound = bound
                .replace("+Inf", "inf")
                .parse()
                .map_err(|_| format!("{family}: le {bound}"))?;
            series.entry(labels).or_default().push((bound, *value));
        }
    }
    for (labels, mut buckets) in series {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let rises = buckets
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let count = page.samples.get(&(format!("{family}_count"), labels.clone()));
        let sum = page.samples.get(&(format!("{family}_sum"), labels.clone()));
        let last = buckets.last().copied();
        if !rises
            || sum.is_none()
            || last.map(|(bound, _)| bound) != Some(f64::INFINITY)
            || last.map(|(_, all)| all) != count.copied()
        {
            return Err(format!(
                "{family}{labels:?} is no histogram: {buckets:?}, count {count:?}"
            ));
        }
    }
    Ok(())
}

/// Holds pages of one process, in the order in which they were read, to counts that never fall.
#[track_caller]
pub(super) fn assert_no_count_goes_back(pages: &[Page]) {
    let mut seen = 0;
    for pair in pages.windows(2) {
        for ((name, labels), before) in &pair[0].samples {
            if !pair[0].is_count(name) {
                continue;
            }
            let now = pair[1].samples.get(&(name.clone(), labels.clone()));
            let now = now.unwrap_or_else(|| panic!("{name}{labels:?} is gone; it was {before}"));
            assert!(now >= before, "{name}{labels:?} fell from {before} to {now}");
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} counts were compared");
}

/// The reader of Prometheus' own library for Python takes the page; a loud line where there is no Python.
#[track_caller]
pub(super) fn assert_python_reads(page: &str) {
    let python = match xtask::languages::venv("prometheus", &["prometheus-client==0.23.1"]) {
        Ok(python) => python,
        Err(why) => {
            assert!(!strict(), "nothing may be skipped, and {why:#}");
            println!("SKIPPED ({why:#}): reading metrics by prometheus_client");
            return;
        }
    };
    let script = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families\n\
                  print(sum(len(family.samples) for family in text_string_to_metric_families(sys.stdin.read())))";
    let mut child = Command::new(python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let samples = page.lines().filter(|line| !line.starts_with('#')).count();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(said.trim(), samples.to_string());
}

#[test]
fn pages_that_are_wrong_are_refused() {
    let good = "# HELP a_seconds A.\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds{b=\"c\\\"d\"} 1.5\n# EOF\n";
    let page = read(good).unwrap();
    assert_eq!(page.value("a_seconds", &[("b", "c\"d")]), Some(1.5));
    for wrong in [
        good.replace("# EOF\n", ""),
        good.replace("a_seconds{b", "b_seconds{b"),
        good.replace("gauge", "counter"),
        good.replace("1.5", "much"),
        good.replace("\\\"d\"", "d"),
        good.replace("# UNIT a_seconds seconds", "# UNIT a_seconds bytes"),
        good.replace("# EOF\n", "a_seconds{b=\"c\\\"d\"} 2\n# EOF\n"),
        good.replace("# HELP a_seconds A.\n", ""),
        "# HELP h H.\n# TYPE h histogram\nh_sum 1\nh_count 2\nh_bucket{le=\"1.0\"} 2\nh_bucket{le=\"+Inf\"} 1\n# EOF\n".to_owned(),
    ] {
        assert!(read(&wrong).is_err(), "{wrong}");
    }
}
