/* Real or generated? The game of genlab.metrics.guessing in the book, with the formulas of genlab.metrics. */
"use strict";
(() => {
    const LEVEL = 0.95;
    const READY = 500; // milliseconds of a cross before an image that is timed
    const BLOCK = 4; // pixels: the mask is made of pieces of images this wide,
    const LAYERS = 3; // as many of them one upon the other

    // ---- statistics ----

    const density = (x) => Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);

    /** Φ(x) = ½ + φ(x) (x + x³/3 + x⁵/(3·5) + …), Marsaglia 2004: to rounding where |x| is below 5. */
    function cumulative(x) {
        let term = x, sum = x;
        for (let k = 3; Math.abs(term) > 1e-17 * Math.abs(sum); k += 2) sum += term *= x * x / k;
        return 0.5 + density(x) * sum;
    }

    /** Φ⁻¹(p) by Newton's steps from 0, which come from one side since Φ bends one way on each side of 0. */
    function quantile(p) {
        let x = 0;
        for (let step = 1, n = 0; Math.abs(step) > 1e-14 && n < 100; n++) x -= step = (cumulative(x) - p) / density(x);
        return x;
    }

    const Z = quantile((1 + LEVEL) / 2);

    /** Wilson's interval of a share. */
    function wilson(successes, n) {
        const share = successes / n, weight = Z * Z / n;
        const centre = (share + weight / 2) / (1 + weight);
        const half = Z * Math.sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight);
        return [successes === 0 ? 0 : centre - half, successes === n ? 1 : centre + half];
    }

    /** d′, the criterion and their standard errors, with the log-linear correction. */
    function dPrime(hits, fake, alarms, real) {
        const [[hit, varHit], [alarm, varAlarm]] = [[hits, fake], [alarms, real]].map(([yes, n]) => {
            const share = (yes + 0.5) / (n + 1), score = quantile(share);
            return [score, share * (1 - share) / (n * density(score) ** 2)];
        });
        const error = Math.sqrt(varHit + varAlarm);
        return { d: hit - alarm, error, criterion: -0.5 * (hit + alarm), criterionError: 0.5 * error };
    }

    function rate(answers) {
        const n = answers.length, wrong = answers.filter((a) => a.real !== a.saysReal).length;
        return { value: wrong / n, interval: wilson(wrong, n), wrong, n };
    }

    /** What answers {real, saysReal, seconds} say of their player; null without answers to both kinds. */
    function verdict(answers) {
        const kinds = [answers.filter((a) => a.real), answers.filter((a) => !a.real)];
        if (kinds.some((part) => part.length === 0)) return null;
        const [real, fake] = kinds.map(rate);
        const seen = dPrime(fake.n - fake.wrong, fake.n, real.wrong, real.n);
        seen.interval = [seen.d - Z * seen.error, seen.d + Z * seen.error];
        const sorted = answers.map((a) => a.seconds).sort((a, b) => a - b), half = sorted.length / 2;
        const seconds = (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2;
        return { hype: rate(answers), real, fake, sensitivity: seen, seconds };
    }

    /** Exposures in milliseconds: three right in a row shorten, one wrong lengthens. */
    class Staircase {
        constructor({ start, factor, least, most, turns }) {
            Object.assign(this, { factor, least, most, turns, exposure: start, reversals: [], streak: 0, direction: 0 });
        }

        get done() { return this.reversals.length >= this.turns; }

        answer(right) {
            this.streak = right ? this.streak + 1 : 0;
            if (!right) this.step(1);
            else if (this.streak === 3) {
                this.streak = 0;
                this.step(-1);
            }
            return this.exposure;
        }

        step(direction) {
            if (direction === -this.direction) this.reversals.push(this.exposure);
            this.direction = direction;
            this.exposure = Math.min(this.most, Math.max(this.least, this.exposure * this.factor ** direction));
        }

        /** The geometric mean of the last two thirds of the reversals, as many up as down; null below three. */
        threshold() {
            const all = this.reversals.length, count = all - Math.floor(all / 3);
            if (all < 3) return null;
            const counted = this.reversals.slice(all - (count - count % 2));
            const value = Math.exp(counted.reduce((sum, turn) => sum + Math.log(turn), 0) / counted.length);
            return { value, cut: counted.some((turn) => turn === this.least || turn === this.most) };
        }
    }

    // ---- the page ----

    const percent = (x) => `${Math.round(100 * x)} %`;

    function make(tag, properties = {}, ...children) {
        const element = Object.assign(document.createElement(tag), properties);
        element.append(...children);
        return element;
    }

    function shuffled(list) {
        for (let i = list.length - 1; i > 0; i--) {
            const j = Math.floor(Math.random() * (i + 1));
            [list[i], list[j]] = [list[j], list[i]];
        }
        return list;
    }

    class Table {
        constructor(box) {
            this.data = JSON.parse(box.dataset.game);
            box.removeAttribute("data-game"); // what the images are stands nowhere in the page from now on
            this.still = box.querySelector("figure");
            this.build(box);
        }

        build(box) {
            const button = (name, press) => make("button", { type: "button", onclick: press }, name);
            const key = (letter) => make("kbd", { ariaHidden: "true" }, letter);
            const most = this.data.real.length / 2, few = Math.min(this.data.each, most);
            const starts = [button(`Play ${2 * few} images`, () => this.start(few, false))];
            if (most > few) starts.push(button(`Play all ${2 * most}`, () => this.start(most, false)));
            starts.push(button("Play against the clock", () => this.start(most, true)));
            this.starts = make("div", { className: "game-buttons" }, ...starts);
            const says = [true, false].map((real) => button(real ? "Real" : "Generated", () => this.answer(real)));
            says.forEach((one, i) => one.append(" ", key("RG"[i])));
            says.push(button("Stop", () => this.end()));
            says[2].className = "game-stop";
            this.canvas = make("canvas", { width: this.data.size[1], height: this.data.size[0] });
            this.canvas.setAttribute("role", "img");
            this.pen = this.canvas.getContext("2d");
            this.stage = make("div", { className: "game-stage", hidden: true }, this.canvas,
                make("div", { className: "game-buttons" }, ...says));
            this.words = make("p", { className: "game-words", ariaLive: "polite" },
                "Half of the images are real, half are generated. Which is which?");
            this.result = make("div", { className: "game-result", hidden: true, tabIndex: -1 });
            this.panel = make("div", { className: "game-panel", tabIndex: -1, ariaLabel: "The game of real or generated" },
                this.words, this.stage, this.result, this.starts);
            this.panel.setAttribute("role", "group");
            this.panel.addEventListener("keydown", (event) => this.key(event));
            box.append(this.panel);
        }

        /** R and G answer while the focus is in the game; arrows, which turn the book's pages, stay here. */
        key(event) {
            if (this.stage.hidden || event.ctrlKey || event.altKey || event.metaKey) return;
            if (event.key.startsWith("Arrow")) event.stopPropagation();
            const place = ["r", "g"].indexOf(event.key.toLowerCase());
            if (place < 0) return;
            event.stopPropagation();
            event.preventDefault();
            if (!event.repeat) this.answer(place === 0);
        }

        async start(each, timed) {
            const sprite = new Image();
            sprite.src = this.data.sprite;
            try {
                await sprite.decode();
            } catch {
                this.words.textContent = "The images of the game could not be loaded.";
                return;
            }
            const places = [...this.data.real].map((real, place) => ({ real: real === "1", place }));
            const some = (kind) => shuffled(places.filter((trial) => trial.real === kind)).slice(0, each);
            Object.assign(this, { sprite, answers: [], trials: shuffled([...some(true), ...some(false)]) });
            this.staircase = timed ? new Staircase(this.data.staircase) : null;
            this.still.hidden = this.starts.hidden = this.result.hidden = true;
            this.stage.hidden = false;
            this.panel.focus({ preventScroll: true });
            this.turn("");
            this.panel.scrollIntoView({ block: "nearest" });
        }

        /** Show the next image: at once and until the answer, or after a cross and for its exposure. */
        turn(said) {
            const number = `Image ${this.answers.length + 1} of ${this.trials.length}`;
            const limit = this.staircase ? `, for ${Math.round(this.staircase.exposure)} ms` : "";
            this.words.textContent = `${said}${number}${limit}: real or generated?`;
            this.canvas.setAttribute("aria-label", number);
            this.since = null;
            const trial = this.trials[this.answers.length];
            if (this.staircase) this.flash(trial);
            else this.reveal(trial);
        }

        reveal(trial) {
            this.draw(trial.place, 0, 0, this.canvas.width, this.canvas.height);
            this.since = performance.now();
        }

        flash(trial) {
            const current = () => !this.stage.hidden && this.trials[this.answers.length] === trial;
            const exposure = this.staircase.exposure;
            this.blank();
            this.cross();
            const hide = (shown) => (now) => {
                if (!current()) return;
                // half a frame early is nearer than half a frame late
                if (now - shown >= exposure - 8) this.mask();
                else requestAnimationFrame(hide(shown));
            };
            setTimeout(() => requestAnimationFrame((now) => {
                if (!current()) return;
                this.reveal(trial);
                requestAnimationFrame(hide(now));
            }), READY);
        }

        /** Copy a piece of the image at this place of the sprite. */
        draw(place, x, y, width, height) {
            const [tall, wide] = this.data.size, columns = this.data.columns;
            // tiles lie a pixel apart
            const left = (place % columns) * (wide + 1) + x, top = Math.floor(place / columns) * (tall + 1) + y;
            this.pen.drawImage(this.sprite, left, top, width, height, x, y, width, height);
        }

        blank() {
            this.pen.fillStyle = "#fff";
            this.pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
        }

        cross() {
            const { width, height } = this.canvas, arm = Math.round(width / 7);
            this.pen.fillStyle = "#666";
            this.pen.fillRect(width / 2 - arm, height / 2 - 1, 2 * arm, 2);
            this.pen.fillRect(width / 2 - 1, height / 2 - arm, 2, 2 * arm);
        }

        /** Pieces of many images, so that no after-image stays; nothing but white for who asked for less motion. */
        mask() {
            this.blank();
            if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
            this.pen.globalCompositeOperation = "darken"; // layers, since most of an image is white
            for (let layer = 0; layer < LAYERS; layer++)
                for (let y = 0; y < this.canvas.height; y += BLOCK)
                    for (let x = 0; x < this.canvas.width; x += BLOCK)
                        this.draw(Math.floor(Math.random() * this.data.real.length), x, y,
                            Math.min(BLOCK, this.canvas.width - x), Math.min(BLOCK, this.canvas.height - y));
            this.pen.globalCompositeOperation = "source-over";
        }

        answer(saysReal) {
            if (this.stage.hidden || this.since === null) return; // the image has not been shown yet
            const seconds = (performance.now() - this.since) / 1000, { real } = this.trials[this.answers.length];
            this.answers.push({ real, saysReal, seconds });
            this.staircase?.answer(real === saysReal);
            if (this.answers.length === this.trials.length || this.staircase?.done) this.end();
            else this.turn(`${real === saysReal ? "Right" : "Wrong"}, ${this.counts()}. `);
        }

        counts() {
            const right = this.answers.filter((a) => a.real === a.saysReal).length;
            return `${right} of ${this.answers.length} right so far`;
        }

        end() {
            const found = verdict(this.answers);
            this.stage.hidden = true;
            this.starts.hidden = false;
            this.still.hidden = found !== null;
            this.result.hidden = found === null;
            this.words.textContent = found
                ? `The game is over after ${this.answers.length} images.`
                : "Stopped: a verdict needs answers to real and to generated images.";
            if (found) this.report(found);
            (found ? this.result : this.panel).focus({ preventScroll: true });
        }

        report(found) {
            const row = (name, { value, interval, wrong, n }) => make("tr", {}, make("th", { scope: "row" }, name),
                make("td", {}, `${wrong} of ${n}`), make("td", {}, percent(value)),
                make("td", {}, `${Math.round(100 * interval[0])} to ${percent(interval[1])}`));
            const heads = ["Images", "Errors", "Share", "95 % interval"];
            const table = make("table", {},
                make("caption", {}, "Your errors; guessing gives 50 %"),
                make("thead", {}, make("tr", {}, ...heads.map((name) => make("th", { scope: "col" }, name)))),
                make("tbody", {}, row("real", found.real), row("generated", found.fake), row("all", found.hype)));
            const lines = [this.seen(found.sensitivity), `An answer took ${found.seconds.toFixed(1)} s, the median.`];
            if (this.staircase) lines.unshift(this.time());
            this.result.replaceChildren(table, ...lines.map((text) => make("p", {}, text)));
        }

        seen({ d, interval, criterion, criterionError }) {
            const [low, high] = interval.map((x) => x.toFixed(2).replace("-", "−"));
            const leaned = Math.abs(criterion) < 2 * criterionError
                ? "You leaned to neither answer."
                : `You leaned towards “${criterion > 0 ? "real" : "generated"}”.`;
            return `d′ = ${d.toFixed(2).replace("-", "−")} (95 % interval ${low} to ${high}); `
                + `0 means that you could not tell them apart. ${leaned}`;
        }

        time() {
            const found = this.staircase.threshold();
            if (found === null)
                return `Too few turns for a threshold: the last exposure was ${Math.round(this.staircase.exposure)} ms.`;
            const cut = found.cut ? ", at a limit of the range: the true time may lie beyond it" : "";
            return `You are right in 79 of 100 images when you see them for ${Math.round(found.value)} ms${cut}. `
                + "The staircase itself holds the errors near 21 %.";
        }
    }

    window.genlabGame = { quantile, wilson, dPrime, verdict, Staircase };
    document.querySelectorAll(".game[data-game]").forEach((box) => new Table(box));
})();
