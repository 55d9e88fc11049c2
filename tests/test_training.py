import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from explorer.data.dataset import Dataset, store
from explorer.errors import ExplorerError
from explorer.spaces.squeezenet import SqueezeNet
from explorer.training.batches import Batches
from explorer.training.recipe import Budget, Recipe
from explorer.training.trainer import VERSION, RunFailed, measure, measure_rungs, numerics, train

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def network():
    return SqueezeNet.point("cifar", classes=3, base_e=8, incr_e=8, stem_width=8, fires=3, pools=(1,)).expand()


@pytest.fixture(scope="module")
def drawn(stripes):
    """The stripes with the split of built-in data sets."""
    shape = (len(stripes.labels), stripes.size)
    return store("drawn stripes", "stripes", stripes.classes, shape, [(stripes.images, stripes.labels)])


def noise(count=40, size=8):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return Dataset("noise", ("a", "b"), images, rng.integers(0, 2, count), "", None)


def test_the_rate_is_a_trunk_with_a_branch():
    recipe = Recipe(learning_rate=0.4, warmup_images=100, decay_share=0.25)
    rates = [recipe.rate(seen, 1000) for seen in (0, 50, 100, 500, 750, 875, 1000)]
    assert rates == pytest.approx([0, 0.2, 0.4, 0.4, 0.4, 0.2, 0])
    # twice the budget shares the trunk
    assert [recipe.rate(seen, 2000) for seen in (50, 100, 750)] == pytest.approx([0.2, 0.4, 0.4])
    assert Recipe(learning_rate=0.4, warmup_images=0, decay_share=0.0).rate(0, 10) == 0.4


def test_plain_batches_contain_all_images_normalised():
    data = noise()
    batches = Batches(data, np.arange(40), 8, CPU)
    images = torch.cat([batch for batch, _ in batches.plain(16)])
    labels = torch.cat([batch for _, batch in batches.plain(16)])
    pixels = data.images.astype(np.float64)
    expected = (pixels - pixels.mean(axis=(0, 1, 2))) / pixels.std(axis=(0, 1, 2))
    assert np.allclose(images.permute(0, 2, 3, 1).numpy(), expected, atol=1e-4)
    assert labels.tolist() == data.labels.tolist()
    assert images[:16].is_contiguous(memory_format=torch.channels_last)


def test_validation_images_are_normalised_like_training_images():
    data = noise()
    training = Batches(data, np.arange(20), 8, CPU)
    validation = Batches(data, np.arange(20, 40), 8, CPU, like=training)
    again = Batches(data, np.arange(40), 8, CPU, like=training)
    assert torch.equal(next(validation.plain(20))[0], next(again.plain(40))[0][20:])


def test_augmented_batches_are_shifted_and_flipped_copies():
    """Each image is one of all shifts and flips of its original, made with NumPy's padding."""
    data = noise()
    batches = Batches(data, np.arange(40), 8, CPU)
    plain = next(batches.plain(40))[0].permute(0, 2, 3, 1).numpy()
    padded = np.pad(plain, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    seen, shifts, flips = [], set(), set()
    for images, labels in batches.augmented(10, Recipe(crop_padding=2), (0,), range(4)):
        for image, label in zip(images.permute(0, 2, 3, 1).numpy(), labels, strict=True):
            found = [
                (index, y, x, flipped)
                for index in range(40)
                for y in range(5)
                for x in range(5)
                for flipped in (False, True)
                if np.allclose(padded[index, y : y + 8, x : x + 8][:, :: -1 if flipped else 1], image, atol=1e-5)
            ]
            assert len(found) == 1
            index, y, x, flipped = found[0]
            assert data.labels[index] == label
            seen.append(index)
            shifts.add((y, x))
            flips.add(flipped)
    assert sorted(seen) == list(range(40))
    assert len(shifts) > 10
    assert flips == {False, True}


def test_images_are_scaled_around_their_middle():
    """Each image is one of those that torch's sampling makes for the nine sizes, and its sides have the same size."""
    data = noise()
    batches = Batches(data, np.arange(40), 8, CPU)
    plain = next(batches.plain(40))[0]
    sizes = torch.linspace(0.8, 1.2, 9)
    affine = torch.eye(2, 3).repeat(9, 1, 1) / sizes[:, None, None]
    seen = set()
    for image, chosen in zip(*scaled_images(batches, Recipe(crop_padding=0, flip=False, scale=0.2)), strict=True):
        grid = torch.nn.functional.affine_grid(affine, [9, 3, 8, 8], align_corners=False)
        made = torch.nn.functional.grid_sample(
            plain[chosen].expand(9, 3, 8, 8), grid, padding_mode="border", align_corners=False
        )
        same = [place for place in range(9) if torch.allclose(made[place], image, atol=1e-4)]
        assert len(same) == 1
        seen.update(same)
    assert len(seen) > 4


def scaled_images(batches, recipe):
    """The augmented images of an epoch, and the places of their originals."""
    order = np.random.default_rng((0,)).permutation(40)
    return [image for images, _ in batches.augmented(10, recipe, (0,), range(4)) for image in images], order.tolist()


def test_squares_are_cut_out():
    data = noise()
    batches = Batches(data, np.arange(40), 8, CPU)
    plain = next(batches.plain(40))[0]
    images, order = scaled_images(batches, Recipe(crop_padding=0, flip=False, cutout=3 / 8))
    sides = set()
    for image, chosen in zip(images, order, strict=True):
        cut = (image == 0).all(0) & (plain[chosen] != 0).any(0)
        rows, columns = cut.any(1), cut.any(0)
        assert torch.equal(cut, rows[:, None] & columns)
        assert torch.equal(image[:, ~cut], plain[chosen][:, ~cut])
        sides.update({int(rows.sum()), int(columns.sum())})
    assert sides == {2, 3}  # a square at the edge is partly outside


def test_new_augmentations_leave_the_batches_of_other_recipes_alone():
    batches = Batches(noise(), np.arange(40), 8, CPU)
    before, _ = scaled_images(batches, Recipe())
    after, _ = scaled_images(batches, Recipe(cutout=1 / 8))
    changed = [(image != other).any(0).sum() for image, other in zip(before, after, strict=True)]
    assert max(changed) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": "adamw", "learning_rate": 3e-3, "weight_decay": 0.05},
        {"clip_norm": 0.5},
        {"ema": 0.9},
        {"scale": 0.2, "cutout": 0.1},
    ],
)
def test_every_recipe_learns_and_its_rungs_equal_separate_runs(network, stripes, changes):
    recipe = Recipe(batch_size=32, warmup_images=100, **changes)
    budgets = [Budget(images=300, epochs=epochs) for epochs in (3, 6)]
    kept = []
    rungs = list(measure_rungs(network, stripes, recipe, budgets, seed=3, keep=kept.append))
    alone = measure(network, stripes, recipe, budgets[1], seed=3)
    (later,) = measure_rungs(network, stripes, recipe, [budgets[1]], seed=3, start=kept[0])
    for found in (rungs[1], later):
        assert found.accuracies[-1] == alone.accuracy
        assert np.array_equal(found.top_probability, alone.top_probability)
    assert alone.accuracy > 0.55  # three classes: chance is a third
    plain = measure(network, stripes, Recipe(batch_size=32, warmup_images=100), budgets[1], seed=3)
    assert not np.array_equal(alone.top_probability, plain.top_probability)


def test_an_averaged_model_is_the_average_of_its_weights(network, stripes):
    """With a decay of 1/2, the average after n steps weights the last weights by 1/2, those before by 1/4, ..."""
    recipe = Recipe(batch_size=32, warmup_images=0, ema=0.5)
    weights, expected = [], None
    step = torch.optim.SGD.step

    def noting(optimiser, *arguments):
        done = step(optimiser, *arguments)
        weights.append(optimiser.param_groups[0]["params"][0].detach().clone())
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", noting)
        model = train(network, stripes, recipe, Budget(images=300, epochs=1), seed=3).model
    for each in weights:
        expected = each if expected is None else (expected + each) / 2
    assert len(weights) == 9
    assert torch.allclose(next(model.parameters()), expected, atol=1e-6)


def test_the_gradient_is_clipped(network, stripes):
    """With plain SGD, the weights of all layers together move at most the learning rate times the limit."""
    recipe = Recipe(
        batch_size=32,
        warmup_images=0,
        clip_norm=0.01,
        momentum=0.0,
        weight_decay=0.0,
        learning_rate=1.0,
        decay_share=0.0,
    )
    moved = []
    step = torch.optim.SGD.step

    def noting(optimiser, *arguments):
        before = [each.detach().clone() for each in optimiser.param_groups[0]["params"]]
        done = step(optimiser, *arguments)
        pairs = zip(optimiser.param_groups[0]["params"], before, strict=True)
        moved.append(float(sum(((now.detach() - then) ** 2).sum() for now, then in pairs)) ** 0.5)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", noting)
        measure(network, stripes, recipe, Budget(images=300, epochs=1), seed=3)
    assert moved == pytest.approx([0.01] * 9, rel=1e-3)


def test_images_are_resampled_to_the_size_of_the_network():
    data = noise()
    pooled = next(Batches(data, np.arange(4), 4, CPU).plain(4))[0]
    full = next(Batches(data, np.arange(4), 8, CPU).plain(4))[0]
    assert torch.allclose(pooled, torch.nn.functional.avg_pool2d(full, 2), atol=1e-6)
    assert next(Batches(data, np.arange(4), 16, CPU).plain(4))[0].shape == (4, 3, 16, 16)


def test_a_run_learns_and_is_reproducible(network, stripes):
    recipe = Recipe(batch_size=32, warmup_images=100)
    runs = [measure(network, stripes, recipe, Budget(images=300, epochs=6), seed=3) for _ in range(2)]
    assert runs[0].accuracies == runs[1].accuracies
    assert runs[0].train_losses == runs[1].train_losses
    assert np.array_equal(runs[0].correct, runs[1].correct)
    assert np.array_equal(runs[0].top_probability, runs[1].top_probability)
    assert runs[0].accuracy > 0.6  # three classes: chance is a third
    assert runs[0].train_losses[-1] < runs[0].train_losses[0]
    assert runs[0].accuracy == runs[0].correct.mean()
    assert len(runs[0].correct) == len(stripes.split().validation)
    assert ((runs[0].top_probability > 0.33) & (runs[0].top_probability <= 1)).all()
    assert runs[0].images_per_second > 0
    assert runs[0].peak_memory_bytes > 1e6


@pytest.mark.parametrize("decay_share", [0.4, 0.0])
def test_rungs_equal_separate_runs_of_their_budgets(stripes, decay_share, monkeypatch):
    """Also with dropout, whose random numbers a branch must not consume, and with branches within an epoch."""
    ticks = SimpleNamespace(perf_counter=itertools.count().__next__)  # so that other work cannot change the times
    monkeypatch.setattr("explorer.training.trainer.time", ticks)
    network = SqueezeNet.point("cifar", classes=3, base_e=8, incr_e=8, stem_width=8, fires=3, pools=(1,), dropout=0.3)
    recipe = Recipe(batch_size=32, warmup_images=100, decay_share=decay_share)
    budgets = [Budget(images=200, epochs=epochs) for epochs in (1, 2, 4)]
    rungs = list(measure_rungs(network.expand(), stripes, recipe, budgets, seed=3))
    for budget, rung in zip(budgets, rungs, strict=True):
        alone = measure(network.expand(), stripes, recipe, budget, seed=3)
        assert rung.accuracies == alone.accuracies
        assert rung.train_losses == alone.train_losses
        assert np.array_equal(rung.top_probability, alone.top_probability)
        assert len(rung.train_losses) == len(rung.accuracies) == budget.epochs
    assert rungs[0].seconds < rungs[1].seconds < rungs[2].seconds


def test_rungs_may_differ_only_in_epochs(network, stripes):
    for others in ({"images": 64, "epochs": 2}, {"images": 32, "epochs": 1}):
        with pytest.raises(ValueError, match="must differ only in epochs"):
            list(measure_rungs(network, stripes, Recipe(), [Budget(images=32, epochs=1), Budget(**others)], seed=0))


def test_a_rung_that_fails_does_not_fail_the_others(network, stripes, monkeypatch):
    recipe = Recipe(batch_size=32, warmup_images=32, decay_share=0.5)
    budgets = [Budget(images=128, epochs=epochs) for epochs in (1, 2)]
    rate, short = Recipe.rate, (4 + 1) * 32  # with one step more, so that the rate of the last is not zero

    def explodes(self, seen, total):
        return 1e20 if total == short and seen > total / 2 else rate(self, seen, total)

    (whole,) = measure_rungs(network, stripes, recipe, budgets[1:], seed=0)
    monkeypatch.setattr(Recipe, "rate", explodes)
    failed, unharmed = measure_rungs(network, stripes, recipe, budgets, seed=0)
    assert isinstance(failed, RunFailed)
    assert unharmed.accuracies == whole.accuracies
    assert unharmed.train_losses == whole.train_losses


def test_train_returns_the_model_too(network, stripes):
    recipe, budget = Recipe(batch_size=32, warmup_images=64), Budget(images=192, epochs=2, validation=100)
    measured, trained = (each(network, stripes, recipe, budget, seed=3) for each in (measure, train))
    assert trained.measurement.accuracies == measured.accuracies
    assert np.array_equal(trained.measurement.top_probability, measured.top_probability)
    assert not trained.model.training
    validation, used = stripes.split().validation[:100], stripes.split().train[:192]
    assert trained.accuracy(stripes, validation) == measured.accuracy
    assert trained.accuracy(stripes, validation[:10]) == measured.correct[:10].mean()
    pixels = stripes.images[used].reshape(-1, 3).astype(float)
    assert trained.mean == pytest.approx(pixels.mean(axis=0))
    assert trained.deviation == pytest.approx(pixels.std(axis=0))
    # In float32, the model gives the same accuracy on images prepared by hand.
    images = (stripes.images[validation] - np.array(trained.mean)) / np.array(trained.deviation)
    with torch.inference_mode():
        logits = trained.model(torch.from_numpy(images).float().permute(0, 3, 1, 2))
    right = (logits.argmax(1).numpy() == stripes.labels[validation]).mean()
    assert trained.accuracy(stripes, validation, "float32") == right
    with pytest.raises(RunFailed):
        train(network, stripes, Recipe(learning_rate=1e25, warmup_images=0), budget, seed=0)


def test_another_seed_gives_another_result(network, stripes):
    recipe, budget = Recipe(batch_size=32), Budget(images=64, epochs=1)
    first, second = (measure(network, stripes, recipe, budget, seed=seed) for seed in (0, 1))
    assert first.train_losses != second.train_losses


def test_a_run_leaves_the_global_random_state_alone(network, stripes):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    measure(network, stripes, Recipe(batch_size=32), Budget(images=32, epochs=1), seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_is_limited_by_the_budget(network, stripes):
    measured = measure(network, stripes, Recipe(), Budget(images=32, epochs=1, validation=20), seed=0)
    assert len(measured.correct) == 20


def test_a_non_finite_loss_ends_the_run(network, stripes):
    recipe = Recipe(batch_size=32, learning_rate=1e20, warmup_images=0)
    with pytest.raises(RunFailed, match=r"the training loss is not finite in epoch [12]"):
        measure(network, stripes, recipe, Budget(images=300, epochs=3), seed=0)


def test_a_last_step_that_diverges_is_a_failure_too(network, stripes):
    recipe = Recipe(batch_size=32, learning_rate=1e25, warmup_images=0)
    with pytest.raises(RunFailed, match="not finite after epoch 1"):  # the loss before the only step was finite
        measure(network, stripes, recipe, Budget(images=32, epochs=1), seed=0)


def test_a_budget_of_more_images_than_the_data_set_has_is_an_error(network, stripes):
    with pytest.raises(ExplorerError, match="budget: images = 9999: stripes has"):
        measure(network, stripes, Recipe(), Budget(images=9_999, epochs=1), seed=0)


def test_results_change_only_with_the_version_number(network, drawn):
    """Fifty training steps against stored numbers; if they differ, raise `VERSION` and replace the numbers.

    The tolerance allows for the last bits of other processors; a change to the training code changes the loss far more.
    """
    assert VERSION == 2
    using = numerics().__class__(VERSION, torch.__version__, "cpu", "float32")
    measured = measure(network, drawn, Recipe(batch_size=32), Budget(images=320, epochs=5), seed=7, using=using)
    assert measured.train_losses == pytest.approx(GOLDEN, abs=5e-3)


GOLDEN = [1.1261, 0.7336, 0.4627, 0.3377, 0.3187]
