//! The readers, on documents of a real Apache 2.4.71 and on damaged ones.

use std::path::Path;

use super::document::{Problem, column, read};
use super::snapshot::{MemberStatus, Snapshot};

const XML: &str = include_str!("fixtures/2.4.71.xml");
const HTML: &str = include_str!("fixtures/2.4.71.html");

fn snapshot(text: &str, balancer: &str) -> Snapshot {
    let sections = read(text).unwrap();
    Snapshot::from(sections.into_iter().find(|section| section.name == balancer).unwrap())
}

#[test]
fn both_documents_have_the_same_content() {
    for balancer in ["phpfpmlb", "sticky", "readonly", "empty"] {
        let (xml, html) = (snapshot(XML, balancer), snapshot(HTML, balancer));
        assert_eq!(xml.nonce, html.nonce);
        assert_eq!(xml.is_sticky(), html.is_sticky());
        assert_eq!(xml.forbids_failover(), html.forbids_failover());
        let facts = |snapshot: &Snapshot| -> Vec<_> {
            let workers = snapshot.workers.iter();
            workers
                .map(|worker| {
                    let worker = worker.clone();
                    (worker.name, worker.url, worker.status, worker.elected, worker.route)
                })
                .collect()
        };
        assert_eq!(facts(&xml), facts(&html));
    }
}

#[test]
fn whole_xml_is_read() {
    let pool = snapshot(XML, "phpfpmlb");
    assert_eq!(pool.nonce.as_deref(), Some("fe36d66f-b4f1-ebcd-afe8-5cf3a95f5428"));
    let urls: Vec<_> = pool.workers.iter().map(|worker| worker.url.as_str()).collect();
    assert_eq!(urls, ["fcgi://pool-1", "fcgi://pool-2", "fcgi://pool-3"]);
    let first = &pool.workers[0];
    assert_eq!(first.name, "unix:/srv/site/sockets/php-fpm-www1.sock|fcgi://pool-1");
    assert_eq!((first.elected, first.busy, first.retry_seconds()), (4, 0, 3));
    assert!(first.status.is_in_error());
    assert_eq!(first.socket().unwrap(), Path::new("/srv/site/sockets/php-fpm-www1.sock"));
    assert_eq!(first.shown_retry_seconds(), Some(3));
    assert_eq!(snapshot(HTML, "phpfpmlb").workers[0].shown_retry_seconds(), None);
    assert_eq!(pool.workers[1].retry_seconds(), 60);
    assert_eq!(pool.workers[1].status.to_string(), "Init Ign Dis Err");
    assert!(pool.workers[2].status.is_draining());
    assert_eq!(column(&pool.attributes, "lbmethod"), Some("bybusyness"));
}

#[test]
fn columns_of_the_page_have_the_names_of_its_table() {
    let pool = snapshot(HTML, "phpfpmlb");
    let names: Vec<_> = pool.workers[0].columns.iter().map(|(name, _)| name.as_str()).collect();
    let expected = "Worker URL,Route,RouteRedir,Factor,Set,Status,Elected,Busy,Load,To,From";
    assert_eq!(names.join(","), expected);
    assert_eq!(column(&pool.workers[0].columns, "to"), Some("940"));
    assert_eq!(column(&pool.attributes, "MaxMembers"), Some("3 [3 Used]"));
    assert_eq!(
        column(&snapshot(HTML, "sticky").attributes, "StickySession"),
        Some("ROUTEID|rid&x")
    );
}

#[test]
fn unescaped_text_is_not_changed() {
    for text in [XML, HTML] {
        let sticky = snapshot(text, "sticky");
        assert_eq!(sticky.workers[2].url, "http://127.0.0.1:9/x?a&amp;b&c");
        assert!(sticky.is_sticky() && sticky.forbids_failover());
    }
}

#[test]
fn balancer_without_nonce_or_workers_is_read() {
    assert_eq!(snapshot(XML, "readonly").nonce, None);
    assert!(snapshot(XML, "empty").workers.is_empty());
    let old: String = XML.lines().filter(|line| !line.contains("nonce")).collect();
    assert!(read(&old).unwrap().iter().all(|section| section.nonce.is_none()));
}

#[test]
fn pages_of_older_versions_are_read() {
    let old = HTML.replace("href=\"", "href='").replace("\">", "'>").replace("&amp;", "&");
    assert_eq!(snapshot(&old, "phpfpmlb"), snapshot(HTML, "phpfpmlb"));
}

#[test]
fn members_are_found_by_url_or_whole_name() {
    let pool = snapshot(XML, "phpfpmlb");
    let found = |url| pool.worker(url).map(|worker| worker.url.as_str());
    assert_eq!(found("fcgi://pool-2"), Some("fcgi://pool-2"));
    assert_eq!(found("fcgi://Pool-2/"), Some("fcgi://pool-2"));
    let whole = "unix:/srv/site/sockets/php-fpm-www2.sock|fcgi://pool-2";
    assert_eq!(found(whole), Some("fcgi://pool-2"));
    assert_eq!(found("unix:/elsewhere.sock|fcgi://pool-2"), None);
    assert_eq!(found("fcgi://pool-22"), None);
    assert_eq!(found(""), None);
}

#[test]
fn status_words_decide_whether_a_worker_serves() {
    let serves = |text| MemberStatus::new(text).serves();
    assert!(serves("Init Ok ") && serves("Init Ign Ok") && serves("Init Stby Ok"));
    for text in ["", "Ok", "Init", "Init Drn Ok", "Init Dis", "Init Stop", "Init Err"] {
        assert!(!serves(text), "{text}");
    }
    assert!(!serves("Init Shut Ok") && !serves("Init HcFl Ok"));
    let unknown = MemberStatus::new("Init  New Ok\n");
    assert!(unknown.serves() && unknown.has("New"));
    assert_eq!(unknown.to_string(), "Init New Ok");
}

#[test]
fn truncated_document_is_refused() {
    for text in [XML, HTML] {
        let whole = text.trim_end().len();
        for end in (0..whole).step_by(7) {
            assert!(read(&text[..end]).is_err(), "cut at {end}");
        }
    }
}

#[test]
fn other_pages_are_refused() {
    for text in ["", "pong", "<html><body>Log in</body></html>", "{}", "<?xml version='1.0'?><a/>"]
    {
        assert_eq!(read(text), Err(Problem::NotManager), "{text}");
    }
    assert!(matches!(read("<httpd:manager><a></b></httpd:manager>"), Err(Problem::Broken(_))));
}

#[test]
fn name_with_a_comment_or_tag_is_refused() {
    let comment = XML.replacen("fcgi://pool-1", "fcgi://pool<!-- -->-1", 1);
    assert!(matches!(read(&comment), Err(Problem::Broken(_))));
    let tag = XML.replacen("fcgi://pool-1", "fcgi://pool<httpd:x/>-1", 1);
    assert_eq!(snapshot(&tag, "phpfpmlb").workers[0].name, "-1");
}

#[test]
fn thousands_of_workers_are_read() {
    let (head, rest) = XML.rsplit_once("        <httpd:worker>").unwrap();
    let (worker, tail) = rest.split_once("</httpd:worker>").unwrap();
    let worker = format!("<httpd:worker>{worker}</httpd:worker>");
    let text = format!("{head}{}{tail}", worker.repeat(5_000));
    assert_eq!(snapshot(&text, "phpfpmlb").workers.len(), 5_002);
}
