//! Generated documents of balancers, and damaged real ones.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::document::{column, read};
use super::snapshot::Snapshot;
use crate::fuzz::{Bytes, a_megabyte_of, damaged};

const SAMPLES: &[&str] =
    &[include_str!("fixtures/2.4.71.xml"), include_str!("fixtures/2.4.71.html")];

#[rustfmt::skip]
const MARKUP: &[&str] = &[
    "<", ">", "&", "&amp;", "&#0;", "&#x110000;", "<!--", "-->", "<![CDATA[", "]]>", "<?", "?>",
    "<!DOCTYPE a [", "<a>", "</a>", "<a/>", "<httpd:worker>", "</httpd:worker>", "<httpd:name>",
    "</httpd:name>", "</httpd:manager>", "<table", "</table>", "<tr", "<td>", "</td>", "<th>",
    "</th>", "<h3>LoadBalancer Status for ", "</h3>", "nonce=", "</html>",
];

#[derive(Debug, Clone)]
struct Balancer {
    name: String,
    nonce: String,
    members: Vec<Member>,
}

#[derive(Debug, Clone)]
struct Member {
    url: String,
    route: String,
    status: String,
    elected: u64,
    busy: u64,
}

/// A name in a configuration, which may contain references.
fn name() -> impl Strategy<Value = String> {
    "[!-;=?-~]{1,12}|&(amp|lt|#60|x)?;?[a-z]{1,3}"
}

fn member() -> impl Strategy<Value = Member> {
    let words = vec!["Init", "Ign", "Drn", "Dis", "Stop", "Err", "Stby", "Ok"];
    let status = subsequence(words, 0..=8).prop_map(|words| words.join(" "));
    (name(), "[a-z&;]{0,5}", status, any::<u64>(), any::<u64>()).prop_map(
        |(url, route, status, elected, busy)| Member { url, route, status, elected, busy },
    )
}

fn balancers() -> impl Strategy<Value = Vec<Balancer>> {
    let balancer = ("[a-z]{1,8}", "[0-9a-f-]{0,36}", vec(member(), 0..4));
    vec(balancer.prop_map(|(name, nonce, members)| Balancer { name, nonce, members }), 0..4)
}

/// As `balancer_display_page` of `mod_proxy_balancer.c` writes them: nothing is escaped.
fn xml(balancers: &[Balancer]) -> String {
    let member = |it: &Member| {
        let Member { url, route, status, elected, busy } = it;
        format!(
            "        <httpd:worker>\n          <httpd:name>{url}</httpd:name>\n          \
             <httpd:status>{status} </httpd:status>\n          <httpd:elected>{elected}</httpd:elected>\n          \
             <httpd:route>{route}</httpd:route>\n          <httpd:busy>{busy}</httpd:busy>\n        </httpd:worker>\n"
        )
    };
    let balancer = |it: &Balancer| {
        format!(
            "    <httpd:balancer>\n      <httpd:name>balancer://{}</httpd:name>\n      \
             <httpd:nonce>{}</httpd:nonce>\n      <httpd:workers>\n{}      </httpd:workers>\n    </httpd:balancer>\n",
            it.name,
            it.nonce,
            it.members.iter().map(member).collect::<String>()
        )
    };
    format!(
        "<?xml version='1.0' encoding='UTF-8' ?>\n<httpd:manager xmlns:httpd='http://httpd.apache.org'>\n  \
         <httpd:balancers>\n{}  </httpd:balancers>\n</httpd:manager>\n",
        balancers.iter().map(balancer).collect::<String>()
    )
}

/// The page: a worker's URL is not escaped there, all else is.
fn html(balancers: &[Balancer]) -> String {
    let member = |it: &Member| {
        let Member { url, route, status, elected, busy } = it;
        let route = route.replace('&', "&amp;");
        format!(
            "<tr>\n<td><a href=\"/balancer-manager?b=x&amp;w=y&amp;nonce=z\"><i>{url}</i></a></td><td>{route}</td>\
             <td>{status} </td><td>{elected}</td><td>{busy}</td></tr>\n"
        )
    };
    let balancer = |it: &Balancer| {
        format!(
            "<h3>LoadBalancer Status for <a href=\"/balancer-manager?b={0}&amp;nonce={1}\">balancer://{0}</a> [p_{0}]</h3>\n\
             \n<table><tr><th>MaxMembers</th></tr>\n<tr><td>3 [3 Used]</td>\n</tr>\n</table>\n<br />\n\
             \n<table><tr><th>Worker URL</th><th>Route</th><th>Status</th><th>Elected</th><th>Busy</th></tr>\n\
             {2}</table>\n<hr />\n",
            it.name,
            it.nonce,
            it.members.iter().map(member).collect::<String>()
        )
    };
    format!(
        "<html><body><h1>Load Balancer Manager for localhost</h1>\n{}</body></html>\n",
        balancers.iter().map(balancer).collect::<String>()
    )
}

/// The text of a page without its tags.
fn without_tags(page: &str) -> String {
    let mut in_tag = false;
    let outside = |c: &char| match c {
        '<' => {
            in_tag = true;
            false
        }
        '>' if in_tag => {
            in_tag = false;
            false
        }
        _ => !in_tag,
    };
    page.chars().filter(outside).collect()
}

proptest! {
    #[test]
    fn generated_documents_are_read(balancers in balancers()) {
        for document in [xml(&balancers), html(&balancers)] {
            let sections = read(&document).unwrap();
            prop_assert_eq!(sections.len(), balancers.len());
            for (section, balancer) in sections.into_iter().zip(&balancers) {
                let snapshot = Snapshot::from(section);
                prop_assert_eq!(&snapshot.name, &balancer.name);
                prop_assert_eq!(snapshot.nonce.as_deref().unwrap_or_default(), &balancer.nonce);
                prop_assert_eq!(snapshot.workers.len(), balancer.members.len());
                for (worker, member) in snapshot.workers.iter().zip(&balancer.members) {
                    prop_assert_eq!(&worker.name, &member.url);
                    prop_assert_eq!(&worker.route, &member.route);
                    prop_assert_eq!(worker.status.to_string(), &*member.status);
                    prop_assert_eq!((worker.elected, worker.busy), (member.elected, member.busy));
                }
            }
        }
    }

    #[test]
    fn damaged_document_yields_only_members_that_are_in_it(Bytes(bytes) in damaged(SAMPLES, MARKUP)) {
        let document = String::from_utf8_lossy(&bytes);
        let is_xml = document.contains("<httpd:manager");
        let said = if is_xml { document.to_string() } else { without_tags(&document) };
        for section in read(&document).unwrap_or_default() {
            for row in &section.rows {
                let told = if is_xml { row.clone() } else { Vec::new() };
                let name = column(row, if is_xml { "name" } else { "Worker URL" });
                for value in told.iter().map(|(_, value)| value.as_str()).chain(name) {
                    prop_assert!(said.contains(value), "{value:?}");
                }
            }
            let snapshot = Snapshot::from(section);
            prop_assert!(snapshot.workers.iter().all(|it| snapshot.worker(&it.url).is_some()));
        }
    }
}

#[test]
fn a_megabyte_is_read_without_delay() {
    for word in ["<", "&", "<!--", "<a>", "<httpd:worker>", "<tr", "<td>", "<h3>LoadBalancer "] {
        let much = a_megabyte_of(word);
        for (sample, place) in SAMPLES.iter().zip(["<httpd:workers>", "<th>Worker URL"]) {
            let _ = read(&sample.replacen(place, &format!("{place}{much}"), 1));
        }
    }
}

#[test]
fn long_heading_is_not_repeated_in_each_row() {
    let heading = "x".repeat(64 << 10);
    let rows = "<tr><td>x</td></tr>".repeat(1_000);
    let page = SAMPLES[1].replacen("<th>Worker URL</th>", &format!("<th>{heading}</th>"), 1);
    let page = page.replacen("</table>\n<hr />", &format!("{rows}</table>\n<hr />"), 1);
    let rows = read(&page).unwrap().into_iter().flat_map(|section| section.rows);
    let bytes: usize = rows.flatten().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes < 2 * page.len(), "{bytes} of {}", page.len());
}
