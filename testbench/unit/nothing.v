// Somewhere for simulated time to pass.
module nothing;
    reg nothing_at_all = 0;
endmodule
