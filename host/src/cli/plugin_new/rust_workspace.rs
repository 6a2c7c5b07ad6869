//! The manifest above the vendored crates of the Rust SDK.
//!
//! They inherit keys from a workspace, so they bring one along: the parts of ours that they use. A workspace of their own
//! also keeps them out of the one that the plugin may be put into.

use toml_edit::{DocumentMut, Item, Table, value};

use super::embedded;

/// `lamphouse/Cargo.toml`.
pub(super) fn manifest() -> String {
    let parse = |text: &[u8]| -> DocumentMut {
        let text = std::str::from_utf8(text).expect("invariant: our manifests are UTF-8");
        text.parse().expect("invariant: our manifests are TOML")
    };
    let (_, root) = embedded::of("rust", "workspace")
        .next()
        .expect("invariant: the workspace's manifest is embedded");
    let ours = &parse(root)["workspace"];
    let crates: Vec<(&str, DocumentMut)> = embedded::of("rust", "sdk")
        .filter_map(|(path, text)| Some((path.strip_suffix("/Cargo.toml")?, parse(text))))
        .collect();
    let mut members = toml_edit::Array::new();
    let mut dependencies = Table::new();
    for (folder, manifest) in &crates {
        members.push(*folder);
        let mut tables: Vec<&Item> = ["dependencies", "dev-dependencies"]
            .iter()
            .filter_map(|name| manifest.get(name))
            .collect();
        let targets = manifest.get("target").and_then(Item::as_table_like);
        tables.extend(
            targets
                .iter()
                .flat_map(|targets| targets.iter())
                .filter_map(|(_, target)| target.get("dependencies")),
        );
        let names = tables.iter().filter_map(|table| table.as_table_like());
        for (name, _) in names.flat_map(|table| table.iter()) {
            dependencies[name] = ours["dependencies"][name].clone();
        }
    }
    dependencies.sort_values();
    let mut workspace = Table::new();
    workspace["resolver"] = ours["resolver"].clone();
    workspace["members"] = value(members);
    for key in ["package", "lints"] {
        workspace[key] = ours[key].clone();
    }
    workspace["dependencies"] = Item::Table(dependencies);
    let mut manifest = DocumentMut::new();
    manifest["workspace"] = Item::Table(workspace);
    format!("# The Rust SDK of Lamphouse, as `lamphouse plugin new` brought it along.\n\n{manifest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendored_crates_have_a_workspace_of_their_own() {
        let manifest: DocumentMut = manifest().parse().expect("TOML");
        let workspace = &manifest["workspace"];
        let members: Vec<_> = workspace["members"].as_array().expect("a list").iter().collect();
        let members: Vec<_> = members.iter().filter_map(|member| member.as_str()).collect();
        assert_eq!(members, ["sdk/rust", "sdk/rust-macros", "sdk/contract"]);
        assert_eq!(
            workspace["dependencies"]["lamphouse-contract"]["path"].as_str(),
            Some("sdk/contract")
        );
        assert!(workspace["dependencies"].get("wit-bindgen").is_some());
        assert!(workspace["dependencies"].get("wasmtime").is_none());
        assert!(workspace["package"]["version"].as_str().is_some());
    }
}
