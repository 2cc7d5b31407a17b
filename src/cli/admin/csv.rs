//! Comma-separated values (RFC 4180) that spreadsheets only read.
//!
//! Names and ids come from visitors and agents. A cell that a spreadsheet would take for a formula gets an
//! apostrophe in front, which such programs show as text; readers that are no spreadsheet see the apostrophe.

/// What a spreadsheet takes for the beginning of a formula, or skips before one.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// One row with its line end.
pub(super) fn row<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let cells: Vec<String> = cells.into_iter().map(cell).collect();
    format!("{}\r\n", cells.join(","))
}

fn cell(text: &str) -> String {
    let guard = if text.trim_start_matches(' ').starts_with(FORMULA) { "'" } else { "" };
    if text.contains([',', '"', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{guard}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        for (text, wanted) in [
            ("", ""),
            ("plain", "plain"),
            ("Zoë's", "Zoë's"),
            ("a,b", "\"a,b\""),
            ("a \"b\"", "\"a \"\"b\"\"\""),
            ("a\r\nb", "\"a\r\nb\""),
            (" a", "\" a\""),
        ] {
            assert_eq!(cell(text), wanted, "{text:?}");
        }
        assert_eq!(row(["a", "b,c", ""]), "a,\"b,c\",\r\n");
    }

    #[test]
    fn nothing_is_a_formula() {
        for (text, wanted) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("  =1", "\"'  =1\""),
            ("=cmd|'/C calc'!A0,x", "\"'=cmd|'/C calc'!A0,x\""),
            ("\r=1", "\"'\r=1\""),
            ("a=1", "a=1"),
        ] {
            assert_eq!(cell(text), wanted, "{text:?}");
        }
    }
}
