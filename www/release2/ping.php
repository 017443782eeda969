<?php

echo "pong2\n";
