from agent.context.forecast import forecast
from agent.context.relevance import RelevanceSettings, judge
from agent.llm.tokens import estimate


async def test_the_forecast_is_near_what_is_then_asked(make_repository, make_flow, scripted):
    long = "".join(f"value_{n} = {n}\n" for n in range(3000))
    repository = make_repository({"long.py": long, **{f"f{n}.py": f"x = {n}\n" * 40 for n in range(20)}})
    settings = RelevanceSettings(piece_tokens=2000)
    common = {"issue": "It fails.", "repository": "a/b", "settings": settings}
    expected = forecast(repository.files(), **common)
    model = scripted(lambda *_: "RELEVANCE: Not Relevant")
    await judge(make_flow(model), repository.files(), read=repository.read, **common)
    asked = sum(estimate("".join(message.text for message in request.messages)) for request in model.asked)
    assert abs(expected.calls - len(model.asked)) <= 4
    assert 0.8 < expected.input_tokens / asked < 1.25


def test_no_files_cost_nothing():
    expected = forecast((), issue="i", repository="a/b")
    assert (expected.calls, expected.input_tokens, expected.output_tokens) == (0, 0, 0)
