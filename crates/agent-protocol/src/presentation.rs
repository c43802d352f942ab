//! What a browser is told of a file it downloads. Whoever wrote the file is not trusted: it may be looked at, and never
//! becomes a page of the address it comes from.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const TEXT: &str = "text/plain; charset=utf-8";

/// What browsers show, by the end of the name. Whatever they would run is missing: HTML, SVG, XML. Programs are text, which
/// no page takes for a script.
const SHOWN: [(&str, &[&str]); 25] = [
    (
        TEXT,
        &[
            "bash", "c", "cc", "cfg", "cjs", "conf", "cpp", "cs", "css", "diff", "env", "go", "h", "hpp",
            "ini", "java", "js", "jsonl", "jsx", "kt", "log", "lua", "md", "mjs", "ndjson", "patch", "php",
            "pl", "py", "r", "rb", "rs", "rst", "scala", "sh", "sql", "swift", "tex", "text", "toml", "ts",
            "tsx", "txt", "yaml", "yml", "zsh",
        ],
    ),
    ("text/csv; charset=utf-8", &["csv"]),
    ("text/tab-separated-values; charset=utf-8", &["tsv"]),
    ("application/json", &["geojson", "ipynb", "json", "map"]),
    (PDF, &["pdf"]),
    ("image/apng", &["apng"]),
    ("image/avif", &["avif"]),
    ("image/bmp", &["bmp"]),
    ("image/gif", &["gif"]),
    ("image/heic", &["heic"]),
    ("image/jpeg", &["jpeg", "jpg"]),
    ("image/png", &["png"]),
    ("image/tiff", &["tif", "tiff"]),
    ("image/vnd.microsoft.icon", &["ico"]),
    ("image/webp", &["webp"]),
    ("audio/flac", &["flac"]),
    ("audio/mp4", &["m4a"]),
    ("audio/mpeg", &["mp3"]),
    ("audio/ogg", &["oga", "ogg", "opus"]),
    ("audio/wav", &["wav"]),
    ("video/mp4", &["m4v", "mp4"]),
    ("video/ogg", &["ogv"]),
    ("video/quicktime", &["mov"]),
    ("video/webm", &["webm"]),
    ("video/x-matroska", &["mkv"]),
];

/// What they keep.
const KEPT: [(&str, &[&str]); 19] = [
    ("application/epub+zip", &["epub"]),
    ("application/gzip", &["gz", "tgz"]),
    ("application/msword", &["doc"]),
    ("application/vnd.apache.parquet", &["parquet"]),
    ("application/vnd.ms-excel", &["xls"]),
    ("application/vnd.ms-powerpoint", &["ppt"]),
    ("application/vnd.oasis.opendocument.presentation", &["odp"]),
    ("application/vnd.oasis.opendocument.spreadsheet", &["ods"]),
    ("application/vnd.oasis.opendocument.text", &["odt"]),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", &["pptx"]),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", &["xlsx"]),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", &["docx"]),
    ("application/vnd.sqlite3", &["sqlite", "sqlite3"]),
    ("application/x-bzip2", &["bz2"]),
    ("application/x-tar", &["tar"]),
    ("application/x-xz", &["xz"]),
    ("application/zip", &["zip"]),
    ("application/zstd", &["zst"]),
    ("font/woff2", &["woff2"]),
];

const PDF: &str = "application/pdf";

/// What of a file's contents nobody knows.
const UNKNOWN: &str = "application/octet-stream";

/// Every letter that is not one of an `attr-char` of RFC 5987.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// How a file is handed to a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentation {
    /// The value of `Content-Type`, by the end of the name.
    pub content_type: &'static str,
    /// The value of `Content-Disposition`: to be shown or to be kept, and under which name.
    pub disposition: String,
    /// Whether the page that shows it must be sandboxed. Browsers show no PDF in a sandbox, and run none of it in a page.
    pub sandboxed: bool,
}

impl Presentation {
    /// Of a file of this name, whatever is in it.
    pub fn of(name: &str) -> Self {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
        let among = |types: &[(&'static str, &[&str])]| {
            types.iter().find(|(_, endings)| endings.contains(&ending.as_str())).map(|(name, _)| *name)
        };
        let (content_type, kind) = match among(&SHOWN) {
            Some(content_type) => (content_type, "inline"),
            None => (among(&KEPT).unwrap_or(UNKNOWN), "attachment"),
        };
        Self { content_type, disposition: disposition(kind, name), sandboxed: content_type != PDF }
    }
}

/// As RFC 6266 writes it: a plain name for those who know no other, and the true one where that differs.
fn disposition(kind: &str, name: &str) -> String {
    let plain = |letter: char| match letter {
        '"' | '\\' | '%' | '/' => '_',
        ' '..='~' => letter,
        _ => '_',
    };
    let simple: String = name.chars().map(plain).collect();
    if simple == name {
        return format!("{kind}; filename=\"{name}\"");
    }
    format!("{kind}; filename=\"{simple}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ESCAPED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_by_the_end_of_the_name() {
        for (name, content_type, kind) in [
            ("report.PDF", "application/pdf", "inline"),
            ("a.tar.gz", "application/gzip", "attachment"),
            ("plot.png", "image/png", "inline"),
            ("script.js", "text/plain; charset=utf-8", "inline"),
            ("data.json", "application/json", "inline"),
            ("noending", "application/octet-stream", "attachment"),
            ("html", "application/octet-stream", "attachment"),
            ("", "application/octet-stream", "attachment"),
            (".txt", "text/plain; charset=utf-8", "inline"),
            ("a.txt.", "application/octet-stream", "attachment"),
        ] {
            let shown = Presentation::of(name);
            assert_eq!(shown.content_type, content_type, "{name}");
            assert!(shown.disposition.starts_with(&format!("{kind}; ")), "{name}: {}", shown.disposition);
            assert_eq!(shown.sandboxed, content_type != "application/pdf");
        }
        // What a browser would run or take for a page is kept as it is, and has no type of its own.
        for ending in [
            "html", "htm", "HTML", "xhtml", "xht", "shtml", "svg", "svgz", "xml", "xsl", "xslt", "rss",
            "atom", "mathml", "mhtml", "mht", "hta", "htc", "swf", "wasm", "vtt", "appcache", "manifest",
            "rdf",
        ] {
            let shown = Presentation::of(&format!("x.{ending}"));
            assert_eq!((shown.content_type, shown.sandboxed), (UNKNOWN, true), "{ending}");
            assert!(shown.disposition.starts_with("attachment"), "{ending}");
        }
        for (content_type, _) in SHOWN.iter().chain(&KEPT) {
            let active = ["html", "svg", "xml;", "javascript", "wasm", "/xml"];
            assert!(!active.iter().any(|word| content_type.contains(word)), "{content_type}");
        }
    }

    #[test]
    fn names_that_headers_cannot_say() {
        for (name, rest) in [
            ("a b.txt", "filename=\"a b.txt\""),
            ("a\"b\\c%.txt", "filename=\"a_b_c_.txt\"; filename*=UTF-8''a%22b%5Cc%25.txt"),
            ("\r\nx: y", "filename=\"__x: y\"; filename*=UTF-8''%0D%0Ax%3A%20y"),
            ("\u{e4}\u{1f980}'*", "filename=\"__'*\"; filename*=UTF-8''%C3%A4%F0%9F%A6%80%27%2A"),
        ] {
            assert_eq!(disposition("inline", name), format!("inline; {rest}"));
        }
    }

    proptest! {
        #[test]
        fn every_name_makes_a_header_that_says_one_thing(name in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let made = Presentation::of(&name).disposition;
            prop_assert!(made.bytes().all(|byte| matches!(byte, 0x20..=0x7e)));
            prop_assert_eq!(made.matches('"').count(), 2);
            if let Some((_, encoded)) = made.split_once("filename*=UTF-8''") {
                let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8().unwrap();
                prop_assert_eq!(decoded, name);
            }
        }
    }
}
