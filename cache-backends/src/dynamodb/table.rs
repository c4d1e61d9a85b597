//! Making the table.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TableDescription, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};
use fast_cache_core::{Error, ErrorKind};

use super::failure::failure;
use super::item::{KEY, TTL};
use super::patient;

/// How long making a table may take, waiting for it included.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
/// How often we look whether the table is there. The SDK's own waiter looks every twenty seconds,
/// and tables mostly take less than ten.
const INTERVAL: Duration = Duration::from_millis(250);

/// Makes the table unless it is there, waits until it can be used, and turns its time to live on.
pub(super) async fn create(client: &Client, table: &str) -> Result<(), Error> {
    request(client, table).await?;
    let description = wait_until_active(client, table).await?;
    check_schema(table, &description)?;
    turn_time_to_live_on(client, table).await
}

async fn request(client: &Client, table: &str) -> Result<(), Error> {
    let key = KeySchemaElement::builder()
        .attribute_name(KEY)
        .key_type(KeyType::Hash)
        .build();
    let definition = AttributeDefinition::builder()
        .attribute_name(KEY)
        .attribute_type(ScalarAttributeType::S)
        .build();
    let answer = client
        .create_table()
        .table_name(table)
        .key_schema(key.map_err(Error::backend)?)
        .attribute_definitions(definition.map_err(Error::backend)?)
        .billing_mode(BillingMode::PayPerRequest)
        .customize()
        .config_override(patient())
        .send()
        .await;
    match answer {
        Ok(_) => Ok(()),
        Err(SdkError::ServiceError(error)) if error.err().is_resource_in_use_exception() => Ok(()),
        Err(error) => Err(failure("CreateTable", &error)),
    }
}

async fn wait_until_active(client: &Client, table: &str) -> Result<TableDescription, Error> {
    loop {
        if let Some(description) = describe(client, table).await? {
            match description.table_status() {
                Some(TableStatus::Active | TableStatus::Updating) => return Ok(description),
                Some(TableStatus::Creating) | None => {}
                Some(status) => {
                    let status = status.as_str().to_ascii_lowercase();
                    return Err(unusable(table, &format!("it is {status}")));
                }
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// `None` for a table that is not known, which a new one may be for a moment.
async fn describe(client: &Client, table: &str) -> Result<Option<TableDescription>, Error> {
    let answer = client
        .describe_table()
        .table_name(table)
        .customize()
        .config_override(patient())
        .send()
        .await;
    match answer {
        Ok(answer) => Ok(answer.table),
        Err(SdkError::ServiceError(error)) if error.err().is_resource_not_found_exception() => {
            Ok(None)
        }
        Err(error) => Err(failure("DescribeTable", &error)),
    }
}

fn check_schema(table: &str, description: &TableDescription) -> Result<(), Error> {
    let is_key = match description.key_schema() {
        [key] => key.attribute_name() == KEY && *key.key_type() == KeyType::Hash,
        _ => false,
    };
    let is_text = description.attribute_definitions().iter().any(|attribute| {
        attribute.attribute_name() == KEY && *attribute.attribute_type() == ScalarAttributeType::S
    });
    if is_key && is_text {
        return Ok(());
    }
    Err(unusable(
        table,
        "its key is not the string `key` without a range key",
    ))
}

async fn turn_time_to_live_on(client: &Client, table: &str) -> Result<(), Error> {
    if is_time_to_live_on(client, table).await? {
        return Ok(());
    }
    let specification = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name(TTL)
        .build();
    let answer = client
        .update_time_to_live()
        .table_name(table)
        .time_to_live_specification(specification.map_err(Error::backend)?)
        .customize()
        .config_override(patient())
        .send()
        .await;
    let Err(error) = answer else { return Ok(()) };
    // Somebody else may have been faster, which is an error that has no code of its own.
    if is_time_to_live_on(client, table).await? {
        return Ok(());
    }
    Err(failure("UpdateTimeToLive", &error))
}

async fn is_time_to_live_on(client: &Client, table: &str) -> Result<bool, Error> {
    let answer = client
        .describe_time_to_live()
        .table_name(table)
        .customize()
        .config_override(patient())
        .send()
        .await
        .map_err(|error| failure("DescribeTimeToLive", &error))?;
    let Some(description) = answer.time_to_live_description else {
        return Ok(false);
    };
    let is_on = matches!(
        description.time_to_live_status(),
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
    );
    match description.attribute_name() {
        Some(name) if is_on && name != TTL => Err(unusable(
            table,
            &format!("its time to live is the attribute `{name}` instead of `{TTL}`"),
        )),
        _ => Ok(is_on),
    }
}

fn unusable(table: &str, reason: &str) -> Error {
    Error::new(
        ErrorKind::Backend,
        format!("the table `{table}` cannot be used: {reason}"),
    )
}
