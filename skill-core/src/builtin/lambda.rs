//! `lambda-invoke`: a function of AWS Lambda, through the integration `aws-lambda`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::form;
use crate::{
    call::CallRequest,
    error::{Error, ErrorKind, Result},
    record::execution::Class,
    skill::{Skill, SkillContext, from_fn},
    tool::Category,
};

#[derive(Deserialize, JsonSchema)]
struct Input {
    /// The function, by name or ARN.
    function: String,
    /// What it is given: an object.
    #[serde(default)]
    payload: Map<String, Value>,
}

#[derive(Serialize, JsonSchema)]
struct Output {
    /// The status that Lambda answered.
    status: u16,
    /// What the function returned.
    payload: Value,
}

pub(super) fn skill() -> Result<Arc<dyn Skill>> {
    from_fn("automation", "v1.0", "lambda-invoke", run)
        .summary("Run a function of AWS Lambda and wait for what it returns")
        .class(Class::Write)
        .tool(form("lambda-invoke", Category::Automation)?)
        .build()
}

async fn run(context: SkillContext, input: Input) -> Result<Output> {
    let call = CallRequest::new("aws-lambda", "invoke")?
        .param("function", input.function)
        .param("payload", Value::Object(input.payload));
    let reply = context.call(call).await?;
    let (status, payload) = (reply.status, reply.data.json().unwrap_or_default());
    // A function that failed is answered with 200, too.
    if reply.headers.contains_key("x-amz-function-error") {
        let message = "the function ended in an error: its log in CloudWatch says why";
        return Err(Error::new(ErrorKind::ActionFailed, message));
    }
    if !status.is_success() {
        let code = status.as_u16();
        let message = format!("AWS Lambda did not run the function: status {code}");
        return Err(Error::new(ErrorKind::ActionFailed, message));
    }
    Ok(Output { status: status.as_u16(), payload })
}
