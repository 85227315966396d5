//! The skills that come with the program, against servers that answer as the services document.

use std::collections::BTreeMap;

use secrecy::SecretString;
use skill_core::{
    Engine, ErrorKind,
    integration::{self, Overrides},
    name::OwnerId,
    record::app::Holder,
    store::sqlite::SqliteStore,
    transport::{
        ReqwestTransport,
        egress::{Egress, HostPort},
    },
};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{
        body_json, body_string_contains, method, path, query_param, query_param_is_missing,
    },
};

use super::*;
use crate::fixture::{keyring, slug};

/// The bundled integrations, four of them at another address.
fn integrations(base: &str) -> Vec<Arc<dyn Integration>> {
    let overrides = ["github", "quickbooks", "sage-intacct", "slack"].map(|slug| {
        let mut overrides = Overrides::default();
        overrides.text("base_url", format!("{base}/{slug}"));
        (slug.to_owned(), overrides)
    });
    integration::bundled(&BTreeMap::from(overrides)).unwrap()
}

/// An engine over a file with the shipped skills, connected to a server.
struct Shop {
    server: MockServer,
    engine: Engine,
    caller: Caller,
    _folder: tempfile::TempDir,
}

impl Shop {
    async fn open(service: &str, (verified, answer): (&str, Value), fields: Value) -> Self {
        let server = MockServer::start().await;
        let folder = tempfile::tempdir().unwrap();
        let integrations = integrations(&server.uri());
        let (skills, problems) = workflow::bundled(&integrations);
        assert!(problems.is_empty(), "{problems:?}");
        let door: HostPort = server.address().to_string().parse().unwrap();
        let transport = ReqwestTransport::new(Egress::new(vec![door])).unwrap();
        let store = SqliteStore::open(&folder.path().join("skill.db")).unwrap();
        let builder = Engine::builder(Arc::new(transport));
        let builder = builder.store(Arc::new(store), keyring()).integrations(integrations);
        let engine = with(builder, &skills).build().await.unwrap();
        let secret = SecretString::from("client-secret");
        engine.apps().put(Holder::System, &slug(service), "client", Some(&secret)).await.unwrap();
        let mock = Mock::given(path(format!("/{service}{verified}")));
        let once = mock.respond_with(ResponseTemplate::new(200).set_body_json(answer));
        once.up_to_n_times(1).mount(&server).await;
        let caller = Caller::operator(OwnerId::standard());
        let mut given = members(fields);
        given.insert("access_token".to_owned(), "token".into());
        let made = engine.connector().hand_over(&caller, &slug(service), &given, None).await;
        made.unwrap();
        Self { server, engine, caller, _folder: folder }
    }

    async fn answers(&self, mock: wiremock::MockBuilder, status: u16, body: Value) {
        let answer = ResponseTemplate::new(status).set_body_json(body);
        mock.respond_with(answer).expect(1).mount(&self.server).await;
    }

    async fn outcome(&self, name: &str, inputs: Value) -> Outcome {
        let (namespace, name) = name.split_once('/').unwrap();
        let admitted = match self.engine.keys().admit(self.caller.clone()).await.unwrap() {
            Admission::Admitted(admitted) => admitted,
            Admission::Refused(_) => panic!("nothing is limited"),
        };
        let mut call = call(namespace, name);
        call.params = members(inputs);
        let runs = self.engine.runs();
        let id = runs.submit(&admitted, Submission::new(call)).await.unwrap().id;
        let run = runs.wait(&self.caller, id, Deadline::after(Duration::from_secs(30))).await;
        run.unwrap().outcome.expect("an end in time")
    }

    async fn value(&self, name: &str, inputs: Value) -> Value {
        match self.outcome(name, inputs).await {
            Outcome::Answer { data, .. } => data.json().unwrap(),
            Outcome::Failed(failure) => panic!("{failure:?}"),
        }
    }

    async fn failure(&self, name: &str, inputs: Value) -> Failure {
        match self.outcome(name, inputs).await {
            Outcome::Failed(failure) => failure,
            Outcome::Answer { data, .. } => panic!("{data:?}"),
        }
    }
}

async fn quickbooks() -> Shop {
    let company = json!({"QueryResponse": {"CompanyInfo": [{"CompanyName": "Acme"}]}});
    Shop::open("quickbooks", ("/query", company), json!({"realm_id": "123"})).await
}

#[tokio::test]
async fn a_report_of_quickbooks_comes_as_it_is_and_as_a_table() {
    let shop = quickbooks().await;
    let report = json!({
        "Header": {"ReportName": "ProfitAndLoss", "ReportBasis": "Accrual", "Currency": "USD"},
        "Columns": {"Column": [
            {"ColTitle": "", "ColType": "Account", "MetaData": [{"Name": "ColKey", "Value": "account"}]},
            {"ColTitle": "Total", "ColType": "Money", "MetaData": [{"Name": "ColKey", "Value": "total"}]},
        ]},
        "Rows": {"Row": [
            {"Header": {"ColData": [{"value": "Income"}, {"value": ""}]},
             "Rows": {"Row": [
                {"ColData": [{"value": "Design income", "id": "82"}, {"value": "337.50"}], "type": "Data"},
             ]},
             "Summary": {"ColData": [{"value": "Total Income"}, {"value": "337.50"}]},
             "type": "Section", "group": "Income"},
            {"Summary": {"ColData": [{"value": "Net Income"}, {"value": "337.50"}]},
             "type": "Section", "group": "NetIncome"},
        ]},
    });
    let asked = Mock::given(path("/quickbooks/reports/ProfitAndLoss"))
        .and(query_param("start_date", "2026-01-01"))
        .and(query_param("summarize_column_by", "Total"))
        .and(query_param_is_missing("end_date"));
    shop.answers(asked, 200, report.clone()).await;
    let inputs = json!({"start_date": "2026-01-01", "summarize_column_by": "Total"});
    let made = shop.value("quickbooks/profit-and-loss-report", inputs).await;
    assert_eq!(made["report"], report);
    let rows = made["table"]["rows"].as_array().unwrap();
    assert_eq!(rows[1]["values"], json!({"Account": "Design income", "Total": 337.5}));
    assert_eq!((rows.len(), &rows[3]["kind"]), (4, &json!("summary")));
}

#[tokio::test]
async fn customers_of_quickbooks_are_found_by_one_query() {
    let shop = quickbooks().await;
    let text = "select * from Customer where Active = true startposition 1 maxresults 2";
    let asked = Mock::given(path("/quickbooks/query")).and(query_param("query", text));
    let customers = json!([{"Id": "1", "DisplayName": "Amy"}, {"Id": "2", "DisplayName": "Bill"}]);
    let found =
        json!({"QueryResponse": {"Customer": customers, "startPosition": 1, "maxResults": 2}});
    shop.answers(asked, 200, found).await;
    let made = shop
        .value("quickbooks/query-customer", json!({"where": "Active = true", "limit": 2}))
        .await;
    assert_eq!(made, json!({"customers": customers, "count": 2}));
    let text = "select * from Customer startposition 501 maxresults 100";
    let asked = Mock::given(path("/quickbooks/query")).and(query_param("query", text));
    shop.answers(asked, 200, json!({"QueryResponse": {}})).await;
    let made = shop.value("quickbooks/query-customer", json!({"offset": 500})).await;
    assert_eq!(made, json!({"customers": [], "count": 0}));
    let inputs = json!({"where": "Id = '1' maxresults 1000"});
    let failure = shop.failure("quickbooks/query-customer", inputs).await;
    assert_eq!(failure.kind, ErrorKind::InvalidInput);
    let fault = json!({"Fault": {"Error": [{"Message": "Error parsing query", "code": "4000"}], "type": "ValidationFault"}});
    let asked = Mock::given(path("/quickbooks/query")).and(query_param(
        "query",
        "select * from Customer where Colour = 'red' startposition 1 maxresults 100",
    ));
    shop.answers(asked, 400, fault).await;
    let failure =
        shop.failure("quickbooks/query-customer", json!({"where": "Colour = 'red'"})).await;
    assert!(failure.message.ends_with("answered 400: Error parsing query"), "{}", failure.message);
}

#[tokio::test]
async fn lines_of_the_ledger_are_found_and_added_up() {
    let none = json!({"ia::result": [], "ia::meta": {"totalCount": 0}});
    let shop = Shop::open("sage-intacct", ("/nothing", none), json!({})).await;
    let fields = [
        "id",
        "journalEntry.id",
        "entryDate",
        "glAccount.id",
        "glAccount.name",
        "txnType",
        "txnAmount",
        "baseAmount",
        "description",
        "dimensions.location.id",
        "dimensions.department.id",
    ];
    let query = json!({
        "object": "general-ledger/journal-entry-line",
        "fields": fields,
        "filters": [{"$gte": {"entryDate": "2026-06-01"}}],
        "orderBy": [{"glAccount.id": "asc"}],
        "start": 101,
        "size": 100,
    });
    let asked = Mock::given(method("POST"))
        .and(path("/sage-intacct/services/core/query"))
        .and(body_json(query));
    let rows = json!([
        {"id": "1", "glAccount.id": "4000", "txnAmount": "10.10", "baseAmount": "10.10"},
        {"id": "2", "glAccount.id": "4000", "txnAmount": "0.20", "baseAmount": "0.20"},
    ]);
    let found =
        json!({"ia::result": rows, "ia::meta": {"totalCount": 102, "start": 101, "pageSize": 100}});
    shop.answers(asked, 200, found).await;
    let inputs = json!({"start_date": "2026-06-01", "group_by": "glAccount.id", "offset": 100});
    let made = shop.value("sage-intacct/query-gldetail", inputs).await;
    let groups = json!([{"value": "4000", "count": 2, "txnAmount": 10.3, "baseAmount": 10.3}]);
    assert_eq!(made, json!({"rows": rows, "total": 102, "groups": groups}));
}

#[tokio::test]
async fn a_workflow_of_github_is_started_and_waited_for() {
    let shop = Shop::open("github", ("/user", json!({"login": "ada"})), json!({})).await;
    let asked = Mock::given(method("POST"))
        .and(path("/github/repos/acme/webapp/actions/workflows/deploy.yml/dispatches"))
        .and(body_json(json!({"ref": "main", "inputs": {"environment": "staging"}})));
    let url = "https://github.com/acme/webapp/actions/runs/30433642";
    let started = json!({"workflow_run_id": 30_433_642, "run_url": "https://api.github.com/x", "html_url": url});
    shop.answers(asked, 200, started).await;
    let run = || Mock::given(path("/github/repos/acme/webapp/actions/runs/30433642"));
    let late = ResponseTemplate::new(404).set_body_json(json!({"message": "Not Found"}));
    run().respond_with(late).up_to_n_times(1).with_priority(1).expect(1).mount(&shop.server).await;
    let ended =
        json!({"id": 30_433_642, "status": "completed", "conclusion": "failure", "html_url": url});
    shop.answers(run(), 200, ended).await;
    let inputs = json!({
        "owner": "acme", "repo": "webapp", "workflow": "deploy.yml", "ref": "main",
        "inputs": {"environment": "staging"},
    });
    let made = shop.value("github/workflow", inputs).await;
    let expected =
        json!({"run_id": 30_433_642, "status": "completed", "conclusion": "failure", "url": url});
    assert_eq!(made, expected);
}

#[tokio::test]
async fn a_message_to_slack_says_where_it_stands_or_why_it_does_not() {
    let team = json!({"ok": true, "team": "Acme"});
    let shop = Shop::open("slack", ("/auth.test", team), json!({})).await;
    let asked = Mock::given(method("POST"))
        .and(path("/slack/chat.postMessage"))
        .and(body_string_contains("channel=C012AB3CD"))
        .and(body_string_contains("blocks=%5B%7B%22type%22%3A%22divider%22%7D%5D"));
    let posted = json!({"ok": true, "channel": "C012AB3CD", "ts": "1503435956.000247", "message": {"text": "Hi"}});
    shop.answers(asked, 200, posted).await;
    let inputs = json!({"channel": "C012AB3CD", "text": "Hi", "blocks": [{"type": "divider"}]});
    let made = shop.value("slack/notify", inputs).await;
    assert_eq!(made, json!({"channel": "C012AB3CD", "ts": "1503435956.000247"}));
    let asked =
        Mock::given(path("/slack/chat.postMessage")).and(body_string_contains("channel=nowhere"));
    shop.answers(asked, 200, json!({"ok": false, "error": "channel_not_found"})).await;
    let failure = shop.failure("slack/notify", json!({"channel": "nowhere", "text": "Hi"})).await;
    assert!(
        failure.message.ends_with("success criteria: channel_not_found"),
        "{}",
        failure.message
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_run_of_github_takes_no_worker_while_it_goes_on() {
    let integrations = integrations("https://service.test");
    let (skills, _) = workflow::bundled(&integrations);
    let store = Arc::new(MemoryStore::new());
    let github = integrations.iter().find(|all| all.info().slug == slug("github")).unwrap().clone();
    let skills = skills.into_iter().filter(|loaded| loaded.file == "github.arazzo.yaml");
    let skills = skills.collect::<Vec<_>>();
    let world = World::with(store, |builder| with(builder.integrations([github.clone()]), &skills));
    let desk = Desk { world: world.await };
    let secret = SecretString::from("client-secret");
    let apps = desk.world.engine.apps();
    apps.put(Holder::System, &slug("github"), "client", Some(&secret)).await.unwrap();
    desk.world.hand_over("github", json!({"access_token": "token"})).await;
    let status = Arc::new(std::sync::Mutex::new("queued"));
    let now = status.clone();
    desk.world.script.on(move |sent| {
        let body = match sent.method.as_str() {
            "POST" => json!({"workflow_run_id": 7}),
            _ => json!({"status": *now.lock().unwrap(), "conclusion": "success", "html_url": "u"}),
        };
        crate::script::json(200, &body.to_string())
    });
    let inputs = json!({"owner": "a", "repo": "b", "workflow": "c", "ref": "d"});
    let id = desk.submit("github/workflow", inputs).await;
    for _ in 0..3 {
        desk.until_queued(id).await;
        desk.world.clock.advance(Duration::from_secs(31));
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    *status.lock().unwrap() = "completed";
    desk.until_queued(id).await;
    desk.world.clock.advance(Duration::from_secs(31));
    let made = desk.value(id).await;
    assert_eq!(
        made,
        json!({"run_id": 7, "status": "completed", "conclusion": "success", "url": "u"})
    );
    assert_eq!(
        desk.world.script.count("service.test/github/repos/a/b/actions/workflows/c/dispatches"),
        1
    );
}

#[test]
fn the_document_of_the_readme_loads() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let (_, rest) = text.split_once("```yaml\narazzo:").unwrap();
    let text = format!("arazzo:{}", rest.split_once("```").unwrap().0);
    let document = Document { file: "readme.arazzo.yaml".into(), text };
    let skills = loaded(&[document], &integrations("https://service.test"));
    assert_eq!(skills[0].skill.info().action().to_string(), "triage/say-hello");
}
