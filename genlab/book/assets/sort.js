/* A table of class "sortable": a click on a column's head, or Enter there, sorts its rows; a second one turns them. */
"use strict";
(() => {
    const number = (cell) => {
        const found = parseFloat(cell.dataset.value ?? cell.textContent);
        return Number.isNaN(found) ? null : found;
    };

    /** Numbers before words, and what a model does not have ("–") last, whichever way. */
    function compare(a, b, way) {
        const [x, y] = [number(a), number(b)];
        const [p, q] = [a, b].map((cell) => cell.textContent.trim());
        if (p === "–" || q === "–") return (p === "–") - (q === "–");
        return way * (x !== null && y !== null ? x - y : p.localeCompare(q));
    }

    function sort(table, column, way) {
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => compare(a.cells[column], b.cells[column], way));
        table.tBodies[0].append(...rows);
    }

    for (const table of document.querySelectorAll("table.sortable")) {
        const heads = [...table.tHead.rows[0].cells];
        heads.forEach((head, column) => {
            const button = document.createElement("button");
            button.type = "button";
            button.append(...head.childNodes);
            head.append(button);
            button.addEventListener("click", () => {
                const way = head.ariaSort === "ascending" ? -1 : 1;
                heads.forEach((other) => other.removeAttribute("aria-sort"));
                head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
                sort(table, column, way);
            });
        });
    }
})();
