//! Archives that were written, and archives that are damaged or hostile.

use nebula_http::wire::ExportedFunction;
use nebula_runtime::id::Version;
use proptest::prelude::*;

use super::*;

fn version(content: &[u8]) -> ExportedVersion {
    let version = serde_json::json!({
        "digest": Digest::of(content), "size_bytes": content.len(), "deployed_at_unix_s": 1,
    });
    serde_json::from_value(version).unwrap()
}

/// Returns an export of functions that each have these contents as their versions.
fn export(functions: &[Vec<Vec<u8>>]) -> Export {
    let function = |(index, contents): (usize, &Vec<Vec<u8>>)| {
        let number = |index: usize| Version::new(u32::try_from(index).unwrap() + 1).unwrap();
        let versions = contents.iter().enumerate().map(|(index, it)| (number(index), version(it))).collect();
        (format!("f{index}").parse().unwrap(), ExportedFunction { current: number(0), versions })
    };
    Export { functions: functions.iter().enumerate().map(function).collect() }
}

fn written(export: &Export, contents: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let find =
        |digest: &Digest| contents.iter().find(|it| Digest::of(it) == *digest).cloned().context("none");
    write(&mut file, export, find).unwrap();
    file
}

/// Returns an archive with any entries.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    for (path, content) in entries {
        append(&mut archive, path, content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

/// Returns why an archive is refused, with all causes.
fn refusal(file: &[u8]) -> String {
    format!("{:#}", Archive::read(file).expect_err("it is refused"))
}

fn contents() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let content = proptest::collection::vec(any::<u8>(), 0..3_000);
    proptest::collection::vec(proptest::collection::vec(content, 1..4), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read(functions in contents()) {
        let export = export(&functions);
        let file = written(&export, &functions.concat());
        prop_assert_eq!(&file, &written(&export, &functions.concat()), "the same export has the same bytes");
        let read = Archive::read(&*file).unwrap();
        prop_assert_eq!(&read.export, &export);
        for content in functions.iter().flatten() {
            prop_assert_eq!(&*read.component(&Digest::of(content)).unwrap(), &**content);
        }
    }

    /// zstd and tar ignore a few bits. A change of one of these changes nothing.
    #[test]
    fn a_changed_file_is_refused_or_the_same(functions in contents(), at: prop::sample::Index, with in 1_u8..) {
        let export = export(&functions);
        let mut file = written(&export, &functions.concat());
        let at = at.index(file.len());
        file[at] ^= with;
        if let Ok(read) = Archive::read(&*file) {
            prop_assert_eq!(&read.export, &export);
            for content in functions.iter().flatten() {
                prop_assert_eq!(&*read.component(&Digest::of(content)).unwrap(), &**content);
            }
        }
    }

    #[test]
    fn a_cut_off_file_is_refused(functions in contents(), at: prop::sample::Index) {
        let file = written(&export(&functions), &functions.concat());
        prop_assert!(Archive::read(&file[..at.index(file.len())]).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = Archive::read(&*bytes);
        let compressed = zstd::encode_all(&*bytes, 1).unwrap();
        let _ = Archive::read(&*compressed);
    }
}

#[test]
fn a_cut_off_file_is_named_so() {
    let contents = vec![b"component".repeat(1_000)];
    let file = written(&export(std::slice::from_ref(&contents)), &contents);
    for length in [20, file.len() / 2, file.len() - 1] {
        let refusal = refusal(&file[..length]);
        assert!(refusal.starts_with("it is cut off"), "{refusal}");
    }
}

#[test]
fn hostile_files_are_refused_by_what_is_wrong() {
    let content = b"component".to_vec();
    let (digest, exported) = (Digest::of(&content), export(&[vec![content.clone()]]));
    let manifest = serde_json::to_vec(&Manifest { format: FORMAT, functions: &exported.functions }).unwrap();
    let newer = serde_json::to_vec(&serde_json::json!({"format": 2, "things": {}})).unwrap();
    let mut unknown: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    unknown["functions"]["f0"]["versions"]["v1"]["secret"] = true.into();
    let unknown = serde_json::to_vec(&unknown).unwrap();
    let (path, other) = (path_of(&digest), path_of(&Digest::of(b"other")));
    let first = (MANIFEST, &*manifest);
    for (entries, reason) in [
        (vec![], "it is empty"),
        (vec![(&*path, &*content)], "`nebula-export.json` doesn't come first"),
        (vec![(MANIFEST, &*newer)], "it has the format 2, and this release reads 1"),
        (vec![(MANIFEST, b"{}")], "missing field `format`"),
        (vec![(MANIFEST, &*unknown)], "unknown field `secret`"),
        (vec![first], "is missing: the file is damaged or cut off"),
        (vec![first, first], "isn't part of an export, or is there twice"),
        (vec![first, (&*path, &*content), (&*path, &*content)], "isn't part of an export, or is there twice"),
        (vec![first, (&*other, b"other")], "isn't part of an export"),
        (vec![first, ("components/passwd", &*content)], "isn't part of an export"),
        (vec![first, (&*path, b"c0mponent")], "is damaged: its digest is"),
        (vec![first, (&*path, b"longer than it says")], "it has 19 bytes instead of 9"),
    ] {
        let refusal = refusal(&archive(&entries));
        assert!(refusal.contains(reason), "`{reason}` isn't in: {refusal}");
    }
    assert!(refusal(b"not compressed, and long enough for a header").contains("it isn't an export"));
}

/// Entries that an archiver would resolve to other places or files.
#[test]
fn links_and_paths_to_other_places_are_refused() {
    let content = b"component".to_vec();
    let exported = export(&[vec![content.clone()]]);
    let manifest = serde_json::to_vec(&Manifest { format: FORMAT, functions: &exported.functions }).unwrap();
    let path = path_of(&Digest::of(&content));
    for (kind, path) in [
        (tar::EntryType::Symlink, &*path),
        (tar::EntryType::Link, &*path),
        (tar::EntryType::GNULongName, &*path),
        (tar::EntryType::XHeader, &*path),
        (tar::EntryType::Regular, "../../../../tmp/evil"),
        (tar::EntryType::Regular, "/tmp/evil"),
    ] {
        let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
        append(&mut archive, MANIFEST, &manifest).unwrap();
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, &*content).unwrap();
        let file = archive.into_inner().unwrap().finish().unwrap();
        let refusal = refusal(&file);
        assert!(refusal.contains("isn't a file") || refusal.contains("isn't part of an export"), "{refusal}");
    }
}

/// Components that the server couldn't keep until the import, by the lengths that the first entry
/// names.
#[test]
fn too_many_bytes_of_components_are_neither_written_nor_read() {
    let contents: Vec<_> = (0..17_u8).map(|number| vec![number]).collect();
    let mut exported = export(&[contents]);
    let each = COMPONENTS_BYTES_MAX / 16;
    for function in exported.functions.values_mut() {
        function.versions.values_mut().for_each(|version| version.size_bytes = each);
    }
    let error = write(Vec::new(), &exported, |_| unreachable!("nothing is fetched")).unwrap_err();
    let reason = format!("would have {} bytes; the limit is {COMPONENTS_BYTES_MAX}", 17 * each);
    assert!(format!("{error:#}").ends_with(&reason), "{error:#}");
    let manifest = serde_json::to_vec(&Manifest { format: FORMAT, functions: &exported.functions }).unwrap();
    assert!(refusal(&archive(&[(MANIFEST, &*manifest)])).ends_with(&reason));
}

/// A small file that would decompress to more than any limit.
#[test]
fn a_bomb_is_refused_before_it_is_read() {
    let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    let mut header = tar::Header::new_ustar();
    header.set_path(MANIFEST).unwrap();
    header.set_size(MANIFEST_BYTES_MAX + 1);
    header.set_cksum();
    archive.append(&header, io::repeat(b' ').take(MANIFEST_BYTES_MAX + 1)).unwrap();
    let file = archive.into_inner().unwrap().finish().unwrap();
    assert!(file.len() < 100_000);
    assert!(refusal(&file).contains("the limit is"));

    let mut file = written(&export(&[]), &[]);
    let zeros = vec![0; usize::try_from(PADDING_BYTES_MAX).unwrap() + 1];
    file.extend(zstd::encode_all(&*zeros, 1).unwrap());
    assert_eq!(refusal(&file), "it continues after its end");
}
