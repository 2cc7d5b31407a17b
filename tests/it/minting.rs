//! Credentials are minted by other people's programs: the samples of the README are run as they stand there,
//! and a server takes what they mint.

use std::io::Write as _;
use std::process::{Command, Stdio};

use porchlight::auth::api_key::ApiKeySecret;
use porchlight::auth::visitor_token;
use porchlight::clock::{Wall, wall};
use porchlight::ids::VisitorId;
use porchlight::model::settings::VisitorIdentity;

use crate::common::{Site, http, json};

const README: &str = include_str!("../../README.md");

const SECRET: &str = "test-api-key";
const GROUP: &str = "12345";
const USER: &str = "005xx0000012Q9z";
const LOGIN_KEYS: [(&str, &str); 2] = [
    ("1893456000", "$1$1893456000$A4T6xaGXGDO5vs8hsokgVcheUgZuZ6Ujh6MbTofJNYs"),
    ("1893456003", "$1$1893456003$E9nvUvMPlZzDTLXjp__Kw3kiqS2bbA2EdHfFrg6d-4E"),
];

/// The one sample in a language.
fn sample(language: &str) -> &'static str {
    let section = README.split_once("\n## Mint credentials in your back end\n").unwrap().1;
    let section = section.split_once("\n## ").unwrap().0;
    let fence = format!("\n```{language}\n");
    let mut found = section.split(&fence).skip(1);
    let text = found.next().unwrap_or_else(|| panic!("no sample in {language}"));
    assert!(found.next().is_none(), "two samples in {language}");
    text.split_once("\n```\n").unwrap().0
}

/// What a program prints, without the end of the line.
fn output(program: &mut Command, input: &str) -> String {
    program.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = program.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}"));
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = running.wait_with_output().unwrap();
    assert!(done.status.success(), "{program:?}");
    String::from_utf8(done.stdout).unwrap().trim_end().to_owned()
}

/// A sample's functions, called with four texts, the last of them a time.
struct Language {
    name: &'static str,
    run: fn(function: Function, arguments: [&str; 4]) -> String,
}

#[derive(Clone, Copy)]
enum Function {
    LoginKey,
    VisitorToken,
}

impl Function {
    fn snake(self) -> &'static str {
        match self {
            Self::LoginKey => "login_key",
            Self::VisitorToken => "visitor_token",
        }
    }

    fn camel(self) -> &'static str {
        match self {
            Self::LoginKey => "loginKey",
            Self::VisitorToken => "visitorToken",
        }
    }
}

const LANGUAGES: [Language; 3] = [
    Language {
        name: "shell",
        run: |function, arguments| {
            let script = format!("set -eu\n{}\n{} \"$@\"\n", sample("sh"), function.snake());
            output(Command::new("sh").args(["-c", &script, "sh"]).args(arguments), "")
        },
    },
    Language {
        name: "JavaScript",
        run: |function, arguments| {
            let call = format!(
                "const [a, b, c, exp] = process.argv.slice(1);\nconsole.log({}(a, b, c, Number(exp)));\n",
                function.camel()
            );
            let script = format!("{}\n{call}", sample("js"));
            output(
                Command::new("node").args(["--input-type=module", "-e", &script, "--"]).args(arguments),
                "",
            )
        },
    },
    Language {
        name: "Python",
        run: |function, arguments| {
            let call = format!(
                "import sys\na, b, c, exp = sys.argv[1:]\nprint({}(a, b, c, int(exp)))\n",
                function.snake()
            );
            let script = format!("{}\n{call}", sample("python"));
            output(Command::new("python3").args(["-c", &script]).args(arguments), "")
        },
    },
];

#[test]
fn login_keys_are_those_of_the_contract() {
    for (expires, wanted) in LOGIN_KEYS {
        for language in LANGUAGES {
            let minted = (language.run)(Function::LoginKey, [SECRET, GROUP, USER, expires]);
            assert_eq!(minted, wanted, "{}", language.name);
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_porchlight"));
        command.args(["token", "login-key", "--group", GROUP, "--user", USER]);
        command.args(["--secret-file", "-", "--expires-at", expires]);
        assert_eq!(output(&mut command, "test-api-key\n"), wanted, "the command");
        assert!(README.contains(&format!("| {expires} | `{wanted}` |")), "the README's table");
    }
}

#[test]
fn visitor_tokens_vouch_for_their_visitor() {
    let secret = ApiKeySecret::given(SECRET.to_owned());
    let expires: u64 = 1_893_456_000;
    let check = |name: &str, token: &str, visitor: &str| {
        let visitor = VisitorId::new(visitor).unwrap();
        let now = Wall((expires - 60) * 1000);
        let verified = visitor_token::verify(|kid| (kid == "k1").then_some(&secret), &visitor, token, now);
        verified.unwrap_or_else(|refused| panic!("{name}: {refused} in {token}"))
    };
    for visitor in ["C-1001", "a.b_c~d-9"] {
        for language in LANGUAGES {
            let token = (language.run)(Function::VisitorToken, [SECRET, "k1", visitor, &expires.to_string()]);
            assert_eq!(check(language.name, &token, visitor), Wall(expires * 1000));
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_porchlight"));
        command.args(["token", "visitor", "--visitor", visitor, "--key-id", "k1"]);
        command.args(["--secret-file", "-", "--expires-at", &expires.to_string()]);
        check("the command", &output(&mut command, SECRET), visitor);
    }
}

#[tokio::test]
async fn a_server_takes_what_the_samples_mint() {
    let site = Site::start().await;
    site.settings(|settings| settings.visitor_identity = VisitorIdentity::Signed).await;
    let (id, secret) = site.running.demo.as_ref().unwrap().api_key.clone();
    let expires = (wall().unix_seconds() + 300).to_string();
    for (at, language) in LANGUAGES.into_iter().enumerate() {
        let key = (language.run)(Function::LoginKey, [&secret, "demo", "demo-alice", &expires]);
        let body = json!({"group": "demo", "partnerUserId": "demo-alice", "loginKey": key});
        let answer = http::post(site.running.public, "/v1/auth/agent", &body).await;
        assert_eq!(answer.status, 200, "{}: {answer:?}", language.name);
        assert_eq!(answer.json()["agent"]["id"], "alice");

        let name = format!("C-{at}");
        let token = (language.run)(Function::VisitorToken, [&secret, id.as_str(), &name, &expires]);
        let _visitor = site.visitor_as(&name, json!({"visitorId": name, "token": token})).await;
    }
}
