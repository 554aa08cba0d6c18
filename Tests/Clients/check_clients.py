"""Asks a server with the official clients of OpenAI and Anthropic, and with litellm: python check_clients.py BASE_URL

Everything that clients rely on is asked for once; what is wrong is an assertion. litellm is left out where it is not installed.
"""

import importlib.util
import json
import os
import sys

import anthropic
import openai

base = sys.argv[1]
client = openai.OpenAI(base_url=base + "/v1", api_key="none", max_retries=0, timeout=120)
question = [{"role": "user", "content": "The key of the garden is 4719, and the key of the tower is 5123.\n\nWhat is the key of the garden given in the text?"}]


def models():
    names = [model.id for model in client.models.list()]
    assert names, "no model is listed"
    return names[0]


def chat(model):
    whole = client.chat.completions.create(
        model=model, messages=question, max_tokens=8, temperature=0, seed=1, logprobs=True, top_logprobs=2)
    choice = whole.choices[0]
    assert choice.message.role == "assistant" and choice.message.content is not None
    assert choice.finish_reason in ("stop", "length"), choice.finish_reason
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    tokens = choice.logprobs.content
    assert tokens and all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)

    text, usage = "", None
    for chunk in client.chat.completions.create(
            model=model, messages=question, max_tokens=8, temperature=0, seed=1, stream=True,
            stream_options={"include_usage": True}, extra_body={"return_progress": True}):
        usage = chunk.usage or usage
        for part in chunk.choices:
            text += part.delta.content or ""
    assert text == choice.message.content, (text, choice.message.content)
    assert usage.prompt_tokens == whole.usage.prompt_tokens
    assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens - 1


def structured(model):
    schema = {
        "type": "object", "additionalProperties": False, "required": ["key", "sure"],
        "properties": {"key": {"type": "integer"}, "sure": {"type": "boolean"}}}
    answer = client.chat.completions.create(
        model=model, messages=question, max_tokens=48,
        response_format={"type": "json_schema", "json_schema": {"name": "key", "schema": schema}})
    value = json.loads(answer.choices[0].message.content)
    assert isinstance(value["key"], int) and isinstance(value["sure"], bool), value
    answer = client.chat.completions.create(
        model=model, messages=question, max_tokens=48, response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


def tools(model):
    tool = {
        "type": "function",
        "function": {
            "name": "look_up", "description": "Looks a key up.",
            "parameters": {
                "type": "object", "properties": {"key": {"type": "integer"}}, "required": ["key"]}}}
    answer = client.chat.completions.create(
        model=model, messages=question, tools=[tool], tool_choice="required", max_tokens=100)
    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "look_up" and isinstance(json.loads(call.function.arguments)["key"], int)
    arguments = ""
    for chunk in client.chat.completions.create(
            model=model, messages=question, tools=[tool], max_tokens=100, stream=True,
            tool_choice={"type": "function", "function": {"name": "look_up"}}):
        for part in chunk.choices:
            for delta in part.delta.tool_calls or []:
                if delta.index == 0:
                    arguments += delta.function.arguments or ""
    assert json.loads(arguments) == json.loads(call.function.arguments)
    history = question + [
        answer.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "It opens the gate."}]
    assert client.chat.completions.create(
        model=model, messages=history, tools=[tool], tool_choice="none", max_tokens=4).choices


def completions(model):
    whole = client.completions.create(model=model, prompt="The key is", max_tokens=6, temperature=0)
    text = "".join(
        part.text for chunk in client.completions.create(
            model=model, prompt="The key is", max_tokens=6, temperature=0, stream=True)
        for part in chunk.choices)
    assert text == whole.choices[0].text


def responses(model):
    whole = client.responses.create(
        model=model, input="The key is 4719. What is the key?", max_output_tokens=8, store=False)
    assert whole.output_text is not None and whole.usage.output_tokens <= 8
    text = ""
    with client.responses.stream(
            model=model, input="The key is 4719. What is the key?", max_output_tokens=8,
            store=False) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                text += event.delta
    assert text == whole.output_text, (text, whole.output_text)


def messages(model):
    other = anthropic.Anthropic(base_url=base, api_key="none", max_retries=0, timeout=120)
    whole = other.messages.create(model=model, max_tokens=8, messages=question)
    assert whole.content[0].type == "text" and whole.stop_reason in ("end_turn", "max_tokens")
    with other.messages.stream(model=model, max_tokens=8, messages=question) as stream:
        text = "".join(stream.text_stream)
    assert text == whole.content[0].text
    count = other.messages.count_tokens(model=model, messages=question)
    usage = whole.usage
    assert count.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


def through_litellm(model):
    # It would look for a list of prices in the network.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    ask = {"model": "openai/" + model, "api_base": base + "/v1", "api_key": "none", "messages": question, "max_tokens": 8, "temperature": 0}
    whole = litellm.completion(**ask)
    assert whole.choices[0].finish_reason in ("stop", "length") and whole.usage.completion_tokens > 0
    text, usage = "", None
    for chunk in litellm.completion(**ask, stream=True, stream_options={"include_usage": True}):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = getattr(chunk, "usage", None) or usage
    assert text == whole.choices[0].message.content, (text, whole.choices[0].message.content)
    assert usage.prompt_tokens == whole.usage.prompt_tokens
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {
        "type": "object", "properties": {"key": {"type": "integer"}}, "required": ["key"]}}}
    answer = litellm.completion(**(ask | {"max_tokens": 100}), tools=[tool], tool_choice="required")
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "look_up" and isinstance(json.loads(call.function.arguments)["key"], int)
    value = litellm.completion(**(ask | {"max_tokens": 48}), response_format={"type": "json_object"})
    assert isinstance(json.loads(value.choices[0].message.content), dict)


def errors(model):
    try:
        client.chat.completions.create(model=model, messages=question, n=3)
    except openai.BadRequestError as error:
        assert "n is 3" in error.message
    else:
        raise AssertionError("n=3 was taken")


def main():
    model = models()
    checks = [chat, structured, tools, completions, responses, messages, errors]
    if importlib.util.find_spec("litellm"):
        checks.append(through_litellm)
    for check in checks:
        check(model)
        print(f"ok: {check.__name__}")
    print(f"{len(checks)} passed, 0 failed")


main()
